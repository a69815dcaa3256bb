"""Folds: disjoint, complete, whole records, even classes, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from toys import arrays, toy_data

from dashfx.data import Data, load_data
from dashfx.data.splits.folds import check_folds, fold, parts_of
from dashfx.errors import DataError


def rows_of(part: Any) -> set[int]:
    return set(part.index.tolist())


def test_each_row_of_train_is_a_validation_row_once() -> None:
    data = toy_data()
    folds = [fold(data, number, 4, seed=0) for number in (1, 2, 3, 4)]
    assert folds[0] is data
    drawn = [rows_of(each.valid) for each in folds[1:]]
    assert set.union(*drawn) == rows_of(data.train) and sum(map(len, drawn)) == len(data.train)
    for each in folds[1:]:
        assert not rows_of(each.train) & rows_of(each.valid) and each.test is data.test
        assert rows_of(each.train) | rows_of(each.valid) == rows_of(data.train) | rows_of(data.valid)


def test_classes_are_spread_evenly_and_the_seed_draws() -> None:
    data = toy_data()
    parts = parts_of(data, 3, seed=0)
    for part in parts:
        counts = np.bincount(data.train.targets[part])
        assert counts.max() - counts.min() <= 1
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    again, other = parts_of(data, 3, seed=0), parts_of(data, 3, seed=1)
    assert all(np.array_equal(a, b) for a, b in zip(parts, again, strict=True))
    assert any(not np.array_equal(a, b) for a, b in zip(parts, other, strict=True))


def test_groups_stay_whole() -> None:
    data = load_data({**arrays(90), "groups": np.arange(90) // 3})
    units = data.train.units
    assert units is not None
    parts = parts_of(data, 3, seed=0)
    assert sum(len(set(units[part].tolist())) for part in parts) == len(set(units.tolist()))


def test_parts_of_two_arrays() -> None:
    first, second = arrays(60, 0), arrays(30, 1)
    named = {"x_train": first["x"], "y_train": first["y"], "x_valid": second["x"], "y_valid": second["y"]}
    data = load_data({**named, "x_test": second["x"] + 1, "y_test": second["y"]})
    other = fold(data, 2, 3, seed=0)
    assert len(other.train) == 30 + 30 and len(other.valid) == 30
    assert torch.equal(other.train[len(other.train) - 1][0], data.valid[29][0])


def few_of_a_class() -> Data:
    data = toy_data()
    y = data.train.y.copy()
    y[data.train.index[data.train.targets == 2][2:]] = 0
    return replace(data, train=data.train.answering(y))


def test_a_class_that_a_fold_would_lack_is_refused() -> None:
    check_folds(few_of_a_class(), 3, seed=0)  # two rows in two folds
    check_folds(toy_data(), 1, seed=0)
    with pytest.raises(DataError, match=r"finalists.folds 4: fold \d would have no row of class 2 to validate on"):
        check_folds(few_of_a_class(), 4, seed=0)


def test_more_folds_than_rows_are_refused() -> None:
    data = toy_data()
    with pytest.raises(DataError, match=r"fold .* has no rows|no row of class"):
        check_folds(replace(data, train=data.train.subset(np.arange(2))), 5, seed=0)
