"""Splits drawn from the train part: shares of classes and of records."""

from __future__ import annotations

import numpy as np
import pytest

from dashfx.data.split import draw_units


@pytest.mark.parametrize("seed", range(5))
def test_a_record_counts_for_the_class_of_most_of_its_rows(seed: int) -> None:
    kinds = [[0, 0, 0, 1]] * 4 + [[1, 1, 1, 0]] * 4 + [[2, 2, 2, 2]] * 4
    records, classes = np.repeat(np.arange(12), 4), np.array(kinds).flatten()
    kept, drawn = draw_units(records, classes, 0.5, seed, "valid")
    for rows in (kept, drawn):
        usual = [kinds[record][0] for record in np.unique(records[rows])]
        assert sorted(usual) == [0, 0, 1, 1, 2, 2]
