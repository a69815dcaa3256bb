"""Evaluation data for a finished model: read whole, and matched to the model by the names that it was trained with."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch

from dashfx.data import Arrays, Data
from dashfx.data.parts import PARTS
from dashfx.data.readers.rows import Rows, Values
from dashfx.errors import DataError, did_you_mean

Load = Callable[[str], Data]  # "whole" or "drawn", as `load_data` has it for `parts`


def to_measure(load: Load, part: str | None, channels: Sequence[str] = ()) -> tuple[Data, tuple[str, ...]]:
    """The data, and which of its parts are measured: all that it has, or `part`, which is drawn where it has none.

    Args:
        channels: the names of the model's input channels; those of the data are put in their order.

    Raises:
        DataError: bad data, no such part, or channels of other names.
    """
    data = load("whole")
    if part is not None:
        data.part(part)  # whether there is one of that name
        if part not in (data.given or PARTS):
            data = load("drawn")
    return with_channels(data, channels), (part,) if part else data.given or PARTS


def with_channels(data: Data, names: Sequence[str]) -> Data:
    """The same rows with the channels of x in the order of `names`; as they are where either side has no names.

    Raises:
        DataError: channels of other names.
    """
    if not names or not data.channels or tuple(names) == data.channels:
        return data
    unknown = [name for name in data.channels if name not in names]
    lacking = [name for name in names if name not in data.channels]
    if unknown or lacking:
        near = did_you_mean(lacking[0], data.channels) if lacking else ""
        raise DataError(
            f"{data.name} has the channels {', '.join(data.channels)}, the model takes {', '.join(names)}"
            f"{near}; rename the columns, or give data of the kind that the model was trained on"
        )
    order = np.array([data.channels.index(name) for name in names])
    train, valid, test = (_reordered(arrays, order) for arrays in (data.train, data.valid, data.test))
    return replace(data, train=train, valid=valid, test=test, channels=tuple(names))


def _reordered(arrays: Arrays, order: np.ndarray) -> Arrays:
    """Before its normalisation, which is in the model's order already."""
    changed = copy.copy(arrays)
    changed.x = _Reordered(arrays.x, order)
    return changed


class _Reordered(Rows):
    """Rows with their channels in another order."""

    def __init__(self, x: Values, order: np.ndarray) -> None:
        super().__init__(tuple(x.shape), x.dtype)
        self._x, self._order = x, order
        self.slow = isinstance(x, Rows) and x.slow

    def row(self, number: int, generator: torch.Generator | None) -> np.ndarray:
        taken: np.ndarray = self.take(np.array([number]), generator)[0]
        return taken

    def take(self, numbers: np.ndarray, generator: torch.Generator | None = None) -> np.ndarray:
        taken = self._x.take(numbers, generator) if isinstance(self._x, Rows) else self._x[numbers]
        return np.asarray(taken)[:, self._order]
