"""Class names of new data matched by name to those of a trained model: its class numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from dashfx.data.base import IGNORED, Data, uncounted
from dashfx.errors import DataError, did_you_mean

SHOWN = 5


def renumbered(data: Data, labels: Sequence[str]) -> Data:
    """The same rows, with classes numbered as in `labels`, those of a trained model; data may lack some of them.

    Several labels or numbers to regress a row are put in that order, and have to be the same ones. Data without names
    are handed back as they are.

    Raises:
        DataError: classes that `labels` do not have.
    """
    wanted = tuple(labels)
    if not wanted or not data.labels or data.labels == wanted:
        return data
    table = numbers_of(data.labels, wanted, data.name)
    if data.kind in ("multilabel", "dense"):
        return _reordered(data, wanted, table)
    parts = (data.train, data.valid, data.test)
    moved: dict[int, np.ndarray] = {}  # parts that were carved out of one array share it
    for arrays in parts:
        y = arrays.y
        if id(y) not in moved:
            counted = ~uncounted(y) if y.ndim > 1 else np.ones(y.shape, bool)
            moved[id(y)] = np.where(counted, table[np.where(counted, y, 0)], IGNORED)
    train, valid, test = (arrays.answering(moved[id(arrays.y)]) for arrays in parts)
    return replace(data, train=train, valid=valid, test=test, labels=wanted, n_outputs=len(wanted))


def numbers_of(names: Sequence[str], labels: Sequence[str], where: str) -> np.ndarray:
    """The place of each of `names` in `labels`.

    Raises:
        DataError: names that are not among them.
    """
    places = {label: place for place, label in enumerate(labels)}
    unknown = [name for name in names if name not in places]
    if unknown:
        near = did_you_mean(unknown[0], labels)
        raise DataError(
            f"{where}: {_some(unknown)} {'is' if len(unknown) == 1 else 'are'} not among the model's classes{near}, "
            f"which are {_some(labels)}; rename or remove them, or train a model that knows them"
        )
    return np.array([places[name] for name in names], np.int64)


def _reordered(data: Data, wanted: tuple[str, ...], places: np.ndarray) -> Data:
    """The columns of y in the model's order; `places` are theirs in it."""
    if len(data.labels) != len(wanted):
        raise DataError(f"{data.name} has {len(data.labels)} labels, the model {len(wanted)}; give a column for each")
    order = np.argsort(places)
    train, valid, test = (arrays.answering(arrays.y[:, order]) for arrays in (data.train, data.valid, data.test))
    return replace(data, train=train, valid=valid, test=test, labels=wanted)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(map(repr, names[:SHOWN])) + more
