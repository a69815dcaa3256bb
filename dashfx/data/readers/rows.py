"""Rows of x that are made one at a time, which `Arrays` can read as if they were one array."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import numpy as np
import torch

from dashfx.data.readers.border import ROW_BYTES, gigabytes
from dashfx.errors import DataError
from dashfx.space import size_text

HELD_BYTES = 2**28  # rows that are slow to make are made once and kept where they take less than this: 256 MiB


def exact(dtype: np.dtype) -> np.dtype:
    """The float that holds such values until they are normalised: float32 would lose them beside a large offset."""
    return np.dtype(np.float64 if dtype.itemsize > 2 and dtype != np.float32 else np.float32)


class Rows(ABC):
    """(N, C, *size) rows that are made when they are asked for.

    Attributes:
        shape, dtype: as of an array.
        slow: whether a row has to be decoded or computed, rather than copied.
        random: whether `take` depends on the generator.
    """

    slow = True
    random = False

    def __init__(self, shape: tuple[int, ...], dtype: type | np.dtype) -> None:
        self.shape, self.dtype = shape, np.dtype(dtype)
        if (size := 4 * math.prod(shape[1:])) > ROW_BYTES:  # 4 bytes each, as a model takes them
            raise DataError(
                f"a row of {size_text(shape[1:])} takes {gigabytes(size)}, which is more than a model is fed at once; "
                "cut it (reading.window, reading.length or reading.size), or look whether its file is damaged"
            )

    @abstractmethod
    def row(self, number: int, generator: torch.Generator | None) -> np.ndarray:
        """(C, *size): one row; what is random in it is drawn from the generator, and fixed without one."""

    def take(self, numbers: np.ndarray, generator: torch.Generator | None = None) -> np.ndarray:
        """(B, C, *size)."""
        taken = np.empty((len(numbers), *self.shape[1:]), self.dtype)
        for place, number in enumerate(numbers.tolist()):
            row = self.row(number, generator)
            if row.shape != self.shape[1:]:
                raise DataError(
                    f"row {number} is {size_text(row.shape)}, its header said {size_text(self.shape[1:])}; the file is "
                    "damaged, or was changed after it was looked at"
                )
            taken[place] = row
        return taken

    def __getitem__(self, numbers: slice | np.ndarray) -> np.ndarray:
        return self.take(np.arange(len(self))[numbers])

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return int(np.prod(self.shape))


Values = np.ndarray | Rows


def held(rows: Rows) -> Values:
    """All rows as one array where they are slow to make, always the same, and few enough; else the rows as they are."""
    keep = rows.slow and not rows.random and rows.size * rows.dtype.itemsize <= HELD_BYTES
    return rows[:] if keep else rows
