"""Data for a finished model are read whole, and their channels put in the model's order."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from toys import arrays

from dashfx.data import Data, Normalisation, load_data
from dashfx.errors import DataError
from dashfx.stages.measure import to_measure, with_channels

GIVEN = arrays(30)
UNITS = Normalisation((1.0, 2.0), (2.0, 4.0))


def named(*channels: str, order: tuple[int, ...] = (0, 1), **options: Any) -> Data:
    data = load_data({"x": GIVEN["x"][:, list(order)], "y": GIVEN["y"]}, parts="whole", **options)
    return replace(data, channels=channels)


def test_channels_are_put_in_the_models_order_before_they_are_normalised() -> None:
    straight, turned = named("ecg", "eeg", normalise=UNITS), named("eeg", "ecg", order=(1, 0), normalise=UNITS)
    matched = with_channels(turned, ("ecg", "eeg"))
    assert matched.channels == ("ecg", "eeg")
    for part in ("train", "valid", "test"):
        x, y = straight.part(part).__getitems__([3, 0])
        found, answers = matched.part(part).__getitems__([3, 0])
        assert torch.equal(found, x) and torch.equal(answers, y)
    assert torch.equal(next(matched.train.chunks()), next(straight.train.chunks()))


def test_without_names_on_either_side_channels_stay() -> None:
    data, unnamed = named("eeg", "ecg"), named()
    assert with_channels(data, ()) is data and with_channels(unnamed, ("ecg", "eeg")) is unnamed
    assert with_channels(data, ["eeg", "ecg"]) is data


def test_channels_of_other_names_are_refused() -> None:
    with pytest.raises(DataError, match=r"has the channels eeg, egc, the model takes eeg, ecg \(did you mean 'egc'"):
        with_channels(named("eeg", "egc"), ("eeg", "ecg"))


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
