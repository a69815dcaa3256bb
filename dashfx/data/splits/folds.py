"""Folds of the training and the validation part: other rows to judge by, where the validation part has few."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from dashfx.data.base import Data
from dashfx.data.splits.both import joined
from dashfx.errors import DataError

MOST = 20


def fold(data: Data, number: int, count: int, seed: int) -> Data:
    """The data as fold `number` of `count` has them, from 1 on; the first is the data as they are.

    The others share out the training part: each row is in one of them the validation part's, and the rows that were
    validation rows before train. Records and groups stay whole, and classes are spread evenly.

    Raises:
        DataError: a class would be missing from a part.
    """
    if number == 1:
        return data
    drawn = parts_of(data, count - 1, seed)[number - 2]
    kept = np.setdiff1d(np.arange(len(data.train)), drawn)
    return replace(data, train=joined(data.train.subset(kept), data.valid), valid=data.train.subset(drawn))


def check_folds(data: Data, count: int, seed: int) -> None:
    """Whether every fold has every class to train on and to validate on.

    Raises:
        DataError: it has not, or there are fewer rows than folds.
    """
    if count == 1:
        return
    for number, drawn in enumerate(parts_of(data, count - 1, seed), 2):
        if not len(drawn):
            raise DataError(f"finalists.folds {count}: fold {number} has no rows; give fewer folds or more rows")
        if data.kind != "classes":
            continue
        present = set(np.unique(data.train.targets).tolist())
        if missing := sorted(present - set(data.train.subset(drawn).targets.tolist())):
            raise DataError(
                f"finalists.folds {count}: fold {number} would have no row of class {_name(missing[0], data.labels)} "
                "to validate on; give fewer folds, or more rows of that class"
            )


def parts_of(data: Data, count: int, seed: int) -> list[np.ndarray]:
    """The training part's rows in `count` parts, each ascending: dealt out class by class, whole records or groups."""
    train = data.train
    units = np.arange(len(train)) if train.units is None else train.units
    _, first, of = np.unique(units, return_index=True, return_inverse=True)
    classes = train.targets[first] if data.kind == "classes" else np.zeros(len(first), np.int64)
    rng, part, dealt = np.random.default_rng(seed), np.empty(len(first), np.int64), 0
    for number in np.unique(classes):
        members = rng.permutation(np.flatnonzero(classes == number))
        part[members] = (dealt + np.arange(len(members))) % count  # goes on where the last class ended
        dealt += len(members)
    return [np.flatnonzero(part[of] == i) for i in range(count)]


def _name(number: int, labels: Sequence[str]) -> str:
    return labels[number] if number < len(labels) else str(number)
