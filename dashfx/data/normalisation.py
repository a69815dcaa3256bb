"""Normalisation: the shift and scale of each channel, or of each channel's positions, fitted on rows of numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor


class Fitted(Protocol):
    """What is looked at to fit: rows of x, a piece at a time, and the targets y."""

    x: Any
    y: Any

    @property
    def targets(self) -> np.ndarray: ...

    def chunks(self) -> Iterable[Tensor]: ...


@dataclass(frozen=True)
class Normalisation:
    """Mean and standard deviation per channel, in the units that the model would otherwise see.

    Attributes:
        mean, std: a number per channel; with `size`, one per channel and position, channel after channel.
        size: the positions' axes where each has its own numbers.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    size: tuple[int, ...] = ()

    @classmethod
    def none(cls, channels: int) -> Normalisation:
        return cls((0.0,) * channels, (1.0,) * channels)

    @classmethod
    def fit(cls, arrays: Fitted) -> Normalisation:
        """Over every row and position of `arrays`, which should be the train part only; a constant channel keeps std 1.

        The moments of the chunks are merged, so the arrays may be larger than memory.
        """
        mean, std = moments(x.transpose(0, 1).flatten(1) for x in arrays.chunks())
        std[constant(mean, std, arrays.x.dtype)] = 1.0
        return cls(tuple(mean.tolist()), tuple(std.tolist()))

    @classmethod
    def fit_positions(cls, arrays: Fitted) -> Normalisation:
        """Over the rows of `arrays`, each position for itself.

        Positions that do not vary take their channel's numbers, so that a channel of coordinates survives.
        """
        whole, size = cls.fit(arrays), tuple(arrays.x.shape[2:])
        mean, std = moments(x.flatten(1).T for x in arrays.chunks())
        fixed, positions = constant(mean, std, arrays.x.dtype), int(np.prod(size))
        mean[fixed], std[fixed] = (np.repeat(v, positions)[fixed] for v in (whole.mean, whole.std))
        return cls(_short(mean, std), _short(std, std), size)

    @classmethod
    def fit_targets(cls, arrays: Fitted) -> Normalisation:
        """Over the targets to regress of `arrays`, per channel; NaN is left out, and a constant channel keeps std 1."""
        y = np.moveaxis(np.asarray(arrays.targets, np.float64), 1, 0).reshape(arrays.y.shape[1], -1)
        y[np.isnan(y).all(1)] = 0.0  # a number that no row has
        mean, std = np.nanmean(y, 1), np.nanstd(y, 1)
        std[constant(mean, std, arrays.y.dtype)] = 1.0
        return cls(tuple(mean.tolist()), tuple(std.tolist()))

    @property
    def channels(self) -> int:
        return len(self.mean) // int(np.prod(self.size, dtype=int))

    def apply(self, x: Tensor) -> Tensor:
        """`x` of shape (B, C, *size) with every channel shifted and scaled."""
        mean, std = self._numbers(x)
        return (x - mean) / std

    def undo(self, x: Tensor) -> Tensor:
        mean, std = self._numbers(x)
        return x * std + mean

    def _numbers(self, x: Tensor) -> tuple[Tensor, Tensor]:
        size = self.size or (1,) * (x.ndim - 2)
        mean, std = (numbers.to(x).view(1, -1, *size) for numbers in self._tensors)
        return mean, std

    @cached_property  # one per position are many, and are asked for with every batch
    def _tensors(self) -> tuple[Tensor, Tensor]:
        return torch.tensor(self.mean, dtype=torch.float64), torch.tensor(self.std, dtype=torch.float64)

    def picked(self, channels: np.ndarray) -> Normalisation:
        """That of these channels, in this order."""
        mean, std = (np.reshape(v, (self.channels, -1))[channels].ravel().tolist() for v in (self.mean, self.std))
        return Normalisation(tuple(mean), tuple(std), self.size)

    def to_dict(self) -> dict[str, list[float]]:
        facts: dict[str, Any] = {"mean": list(self.mean), "std": list(self.std)}
        return facts | ({"size": list(self.size)} if self.size else {})

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Normalisation:
        mean, std = (tuple(map(float, facts[name])) for name in ("mean", "std"))
        return cls(mean, std, tuple(map(int, facts.get("size", ()))))


def moments(pieces: Iterable[Tensor]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each row of (K, values) pieces, merged (Chan, Golub, LeVeque 1979)."""
    count, mean, squares = 0, np.zeros(1), np.zeros(1)
    for piece in pieces:
        flat = piece.double().numpy()
        size, centre = flat.shape[1], flat.mean(1)
        delta, total = centre - mean, count + size
        squares = squares + ((flat - centre[:, None]) ** 2).sum(1) + delta**2 * count * size / total
        mean, count = mean + delta * size / total, total
    return mean, np.sqrt(squares / count)


def constant(mean: np.ndarray, std: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Where values do not vary, in whatever unit: rounding leaves noise, not an exact zero, which would be blown up.

    Args:
        dtype: of the values as they were stored, whose last place is that noise.
    """
    noise = max(float(np.finfo(dtype).eps), 1e-13) if dtype.kind == "f" else 1e-13  # of the sums themselves
    still: np.ndarray = std <= noise * np.abs(mean)
    return still


def _short(values: np.ndarray, std: np.ndarray) -> tuple[float, ...]:
    """Seven digits below the deviation, which is all of float32: there may be many, and they are written as text."""
    above = np.log10(np.maximum(np.abs(values), np.finfo(float).tiny) / std)
    digits = np.clip(7 + np.ceil(above), 7, 17).astype(int)
    return tuple(float(f"{value:.{n}g}") for value, n in zip(values, digits, strict=True))
