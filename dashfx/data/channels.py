"""Channels of new data matched by name to those of a trained model: picked, and put into the model's order."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from dashfx.data.base import Arrays, Data
from dashfx.data.readers.rows import Rows, Values
from dashfx.data.source import Source
from dashfx.errors import DataError, did_you_mean


class Picked(Rows):
    """Rows of which some channels are taken, in this order, when they are asked for."""

    def __init__(self, rows: Values, channels: np.ndarray) -> None:
        super().__init__((len(rows), len(channels), *rows.shape[2:]), rows.dtype)
        self.rows, self.channels = rows, channels
        self.slow, self.random = (rows.slow, rows.random) if isinstance(rows, Rows) else (False, False)

    def row(self, number: int, generator: torch.Generator | None) -> np.ndarray:
        taken: np.ndarray = self.take(np.array([number]), generator)[0]
        return taken

    def take(self, numbers: np.ndarray, generator: torch.Generator | None = None) -> np.ndarray:
        taken = self.rows.take(numbers, generator) if isinstance(self.rows, Rows) else self.rows[numbers]
        return np.asarray(taken)[:, self.channels]


def channels_by_name(source: Source, xs: dict[str, Values], wanted: Sequence[str]) -> tuple[Source, dict[str, Values]]:
    """x of each part, (N, C, *size), with the channels `wanted` in their order, where the source names its own.

    Where none are wanted, those of the lead part, for the parts that name theirs otherwise.

    Raises:
        DataError: it lacks one of them.
    """
    needs = "the model needs" if wanted else f"{source.lead} has"
    wanted = tuple(wanted) or source.channels
    picked: dict[str, Values] = dict(xs)
    notes: dict[str, str] = {}  # a set that keeps its order
    for part, x in xs.items():
        names = source.orders.get(part, source.channels)
        order = places_of(wanted, names, x.shape[1], source.name, needs)
        if order is not None:
            picked[part] = Picked(x, order)
            notes[f"channels: {', '.join(wanted)}, picked by name from {', '.join(names)}"] = part
    if not notes:
        return source, xs
    return replace(source, channels=tuple(wanted), orders={}, notes=(*source.notes, *notes)), picked


def places_of(
    wanted: Sequence[str], names: tuple[str, ...], channels: int, where: str, needs: str = "the model needs"
) -> np.ndarray | None:
    """The places of the channels `wanted` among `names`, those of the data; None where they stay where they are.

    Raises:
        DataError: the data lack one of them.
    """
    if not wanted or tuple(wanted) == names or len(names) != channels:
        return None
    lacking = [name for name in wanted if name not in names]
    if lacking:
        raise DataError(
            f"{where} has the channels {', '.join(names)}, {needs} {', '.join(wanted)}: "
            f"{', '.join(lacking)} {'is' if len(lacking) == 1 else 'are'} missing{did_you_mean(lacking[0], names)}"
        )
    return np.array([names.index(name) for name in wanted])


def with_channels(data: Data, wanted: Sequence[str]) -> Data:
    """The same of finished data, whose normalisation goes along; as they are where either side has no names.

    Raises:
        DataError: they lack one of the channels.
    """
    order = places_of(wanted, data.channels, data.input_shape[0], data.name)
    if order is None:
        return data
    train, valid, test = (_picked(arrays, order) for arrays in (data.train, data.valid, data.test))
    return replace(
        data,
        train=train,
        valid=valid,
        test=test,
        input_shape=(len(order), *data.input_shape[1:]),
        normalisation=data.normalisation.picked(order),
        channels=tuple(wanted),
    )


def _picked(arrays: Arrays, order: np.ndarray) -> Arrays:
    changed = copy.copy(arrays)
    changed.x = Picked(arrays.x, order)
    changed.normalisation = arrays.normalisation and arrays.normalisation.picked(order)
    return changed
