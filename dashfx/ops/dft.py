"""The matrices of discrete Fourier transforms in real arithmetic, real beside imaginary parts; made in float64."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def complex_to_complex(length: int, freq: Tensor, points: range) -> Tensor:
    """exp(-2 pi i f p / length) on real beside imaginary parts: (*, freq * 2, 2 * points), frequency before part."""
    cos, minus_sin = real_to_complex(length, freq, [points])
    re, im = torch.cat([cos, -minus_sin], -1), torch.cat([minus_sin, cos], -1)
    return torch.stack([re, im], -2).flatten(-3, -2)


def real_to_complex(length: int, freq: Tensor, axes: Sequence[range]) -> tuple[Tensor, Tensor]:
    """cos and -sin of 2 pi f p / length in float64, each (*freq, points)."""
    at = torch.tensor([p for axis in axes for p in axis])
    turns = (freq.unsqueeze(-1) * at) % length  # whole numbers: no rounding at large f * p
    angle = turns.double() * (2 * math.pi / length)
    return angle.cos(), -angle.sin()


def mirror(length: int) -> Tensor:
    """2 where a frequency of the half spectrum stands for its mirror image too, else 1: (length // 2 + 1,)."""
    counts = torch.full((length // 2 + 1,), 2.0, dtype=torch.float64)
    counts[0] = 1
    if length % 2 == 0:
        counts[-1] = 1
    return counts
