"""Records: series of different lengths, flat or one by one, of which a piece at a time is taken."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from dashfx.data.readers.rows import exact


class Records(ABC):
    """Series of one number of channels and of any lengths.

    Attributes:
        lengths: (N,) samples of each.
        rate: samples a second where it is known, else 0.
        slow: whether a piece has to be decoded.
    """

    dtype = np.dtype(np.float32)
    rate = 0
    slow = False

    def __init__(self, lengths: np.ndarray, channels: int) -> None:
        self.lengths, self.channels = np.asarray(lengths, np.int64), channels

    def __len__(self) -> int:
        return len(self.lengths)

    @abstractmethod
    def piece(self, record: int, start: int, stop: int) -> np.ndarray:
        """(C, stop - start): samples of one record."""


class Flat(Records):
    """Records one behind the other in an array (samples,) or (samples, C), which may be memory-mapped."""

    def __init__(self, values: np.ndarray, lengths: np.ndarray) -> None:
        super().__init__(lengths, 1 if values.ndim == 1 else values.shape[1])
        self.values, self.starts, self.dtype = values, np.cumsum(lengths) - lengths, exact(values.dtype)

    def piece(self, record: int, start: int, stop: int) -> np.ndarray:
        first = self.starts[record]
        return np.atleast_2d(self.values[first + start : first + stop].T)


class Listed(Records):
    """An array of its own, (samples,) or (C, samples), for each record; an array (N, C, L) will do."""

    def __init__(self, arrays: Sequence[np.ndarray] | np.ndarray) -> None:
        super().__init__(np.array([a.shape[-1] for a in arrays]), np.atleast_2d(arrays[0]).shape[0])
        self.arrays = arrays
        self.dtype = exact(np.result_type(*{array.dtype for array in arrays}))

    def piece(self, record: int, start: int, stop: int) -> np.ndarray:
        return np.atleast_2d(self.arrays[record])[:, start:stop]
