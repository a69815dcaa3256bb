"""Data for a finished model are read whole, or drawn where a part is asked for that they lack."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from toys import arrays

from dashfx.data import Data, load_data
from dashfx.errors import DataError
from dashfx.stages.measure import to_measure

GIVEN = arrays(30)


def test_what_is_measured() -> None:
    def load(how: Any) -> Data:
        return load_data({"x": GIVEN["x"], "y": GIVEN["y"]}, parts=how)

    data, parts = to_measure(load, None)
    assert parts == ("train",) and len(data.train) == 30
    data, parts = to_measure(load, "test")
    assert parts == ("test",) and len(data.test) == 6, "the part is drawn as a run draws it"
    with pytest.raises(DataError, match="has no part 'tset'"):
        to_measure(load, "tset")
    held = load_data({f"{a}_test": GIVEN[a] for a in "xy"}, parts="whole")
    assert to_measure(lambda how: held, "test") == (held, ("test",))
    assert np.array_equal(held.test.targets, GIVEN["y"])
