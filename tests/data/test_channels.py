"""Channels are picked by name, in the model's order, where both sides have names."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from toys import arrays

from dashfx.data import Data, Normalisation, load_data
from dashfx.errors import DataError

X = np.random.default_rng(0).normal(size=(40, 3, 8)).astype(np.float32)
GIVEN = {"x": X, "y": np.arange(40) % 4, "channels": np.array(["red", "green", "ir"])}
UNITS = Normalisation((1.0, 2.0), (2.0, 4.0))


def test_channels_are_picked_by_name() -> None:
    data = load_data(GIVEN, channels=("ir", "red"), normalise=False)
    assert data.channels == ("ir", "red") and data.input_shape == (2, 8)
    np.testing.assert_array_equal(data.train[0][0].numpy(), X[data.train.index[0]][[2, 0]])
    assert torch.equal(next(data.train.chunks())[0], data.train[int(data.train.index.argmin())][0])


def test_a_normalisation_that_is_given_is_in_the_models_order() -> None:
    data = load_data(GIVEN, channels=("ir", "red"), normalise=UNITS)
    x = X[data.train.index[0]][[2, 0]]
    np.testing.assert_allclose(data.train[0][0].numpy(), (x - [[1.0], [2.0]]) / [[2.0], [4.0]], rtol=1e-6)


@pytest.mark.parametrize("how", [True, "positions"])
def test_finished_data_take_their_normalisation_along(how: Any) -> None:
    data = replace(load_data({**arrays(30)}, normalise=how), channels=("eeg", "ecg"))
    matched = load_data(data, channels=("ecg", "eeg"))
    assert matched.channels == ("ecg", "eeg") and matched.input_shape == data.input_shape
    for part in ("train", "valid", "test"):
        x, y = data.part(part).__getitems__([3, 0])
        found, answers = matched.part(part).__getitems__([3, 0])
        assert torch.equal(found, x[:, [1, 0]]) and torch.equal(answers, y)
    assert matched.normalisation == matched.train.normalisation != data.normalisation
    one = load_data(data, channels=("ecg",))
    assert one.input_shape == (1, *data.input_shape[1:]) and one.train[0][0].shape == one.input_shape


def test_without_names_on_either_side_channels_stay() -> None:
    data: Data = replace(load_data(arrays(30)), channels=("eeg", "ecg"))
    unnamed = replace(data, channels=())
    assert load_data(data, channels=()) is data and load_data(unnamed, channels=("ecg", "eeg")) is unnamed
    assert load_data(data, channels=["eeg", "ecg"]) is data
    assert load_data((X, np.arange(40) % 4), channels=("ir", "red")).channels == ()


def test_channels_that_are_missing_are_named() -> None:
    with pytest.raises(DataError, match="needs red, blue: blue is missing"):
        load_data(GIVEN, channels=("red", "blue"))
    data = replace(load_data(arrays(30)), channels=("eeg", "egc"))
    with pytest.raises(DataError, match=r"has the channels eeg, egc, the model needs eeg, ecg: .*did you mean 'egc'"):
        load_data(data, channels=("eeg", "ecg"))
