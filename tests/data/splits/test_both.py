"""Two parts as one: rows stay what they are, whether the parts share an array or not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from toys import arrays, toy_data

from dashfx.data import Data, load_data
from dashfx.data.splits.both import joined, trained_on_both


def given_parts() -> Data:
    first, second = arrays(60, 0), arrays(30, 1)
    return load_data(
        {
            "x_train": first["x"],
            "y_train": first["y"],
            "x_valid": second["x"],
            "y_valid": second["y"],
            "x_test": second["x"][:9] + 1,
            "y_test": second["y"][:9],
        }
    )


@pytest.mark.parametrize("make", [toy_data, given_parts])
def test_all_rows_of_both_and_no_others(make: Any) -> None:
    data = make()
    both = trained_on_both(data)
    n, m = len(data.train), len(data.valid)
    assert len(both.train) == n + m and both.valid is data.valid and both.test is data.test
    x, y = both.train.__getitems__(list(range(n + m)))
    for part, rows in ((data.train, slice(0, n)), (data.valid, slice(n, n + m))):
        expected_x, expected_y = part.__getitems__(list(range(len(part))))
        assert torch.equal(x[rows], expected_x) and torch.equal(y[rows], expected_y)


def test_rows_come_in_any_order() -> None:
    data = given_parts()
    both = joined(data.train, data.valid)
    x, _ = both.__getitems__([65, 0, 89, 59])
    assert torch.equal(x[0], data.valid[5][0]) and torch.equal(x[1], data.train[0][0])
    assert torch.equal(x[2], data.valid[29][0]) and torch.equal(x[3], data.train[59][0])
    assert np.array_equal(both.targets, np.concatenate([data.train.targets, data.valid.targets]))
    assert torch.equal(both.subset(np.array([60, 61]))[0][0], data.valid[0][0])
