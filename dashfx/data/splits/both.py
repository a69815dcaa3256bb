"""Two parts as one: the rows of the training and of the validation part together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from dashfx.data.base import Arrays, Data
from dashfx.data.readers.rows import Rows, Values


class Both(Rows):
    """The rows of two arrays of one shape, the first's first."""

    slow = False

    def __init__(self, first: Values, second: Values) -> None:
        super().__init__((len(first) + len(second), *first.shape[1:]), np.result_type(first.dtype, second.dtype))
        self._parts = first, second
        self.random = any(isinstance(part, Rows) and part.random for part in self._parts)

    def row(self, number: int, generator: torch.Generator | None) -> np.ndarray:
        return self.take(np.array([number]), generator)[0]

    def take(self, numbers: np.ndarray, generator: torch.Generator | None = None) -> np.ndarray:
        taken = np.empty((len(numbers), *self.shape[1:]), self.dtype)
        first, second = self._parts
        for part, here, begin in ((first, numbers < len(first), 0), (second, numbers >= len(first), len(first))):
            rows = numbers[here] - begin
            taken[here] = part.take(rows, generator) if isinstance(part, Rows) else part[rows]
        return taken


def joined(first: Arrays, second: Arrays) -> Arrays:
    """The rows of two parts with the same scale and normalisation; records and groups stay where both have the same."""
    if first.x is second.x:
        return first.rows(np.concatenate([first.index, second.index]))
    index = np.concatenate([first.index, len(first.x) + second.index])
    return Arrays(
        Both(first.x, second.x),
        np.concatenate([first.y, second.y]),
        index,
        scale=first.scale,
        normalisation=first.normalisation,
        classes=first.classes,
    )


def trained_on_both(data: Data) -> Data:
    """The data with the validation part's rows in the training part as well; the validation part stays as it is."""
    return replace(data, train=joined(data.train, data.valid))
