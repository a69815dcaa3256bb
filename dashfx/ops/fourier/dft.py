"""Cosines and sines of a discrete Fourier transform, and even and odd parts, which halve its products, all in float64.

Points are counted from their middle, t = p - middle / 2, and X_f = sum_p x_p exp(-2 pi i f t / period).
Where the points lie evenly about it, the cosines see x_t + x_-t only and the sines x_t - x_-t, for t >= 0.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def cos_sin(length: int, freq: Tensor, points: range, middle: int = 0) -> tuple[Tensor, Tensor]:
    """cos and sin of 2 pi f t / length, each (*freq, points)."""
    at = torch.tensor([2 * p - middle for p in points])
    turns = (freq.unsqueeze(-1) * at) % (2 * length)  # whole numbers: no rounding at large f * p
    angle = turns.double() * (math.pi / length)
    return angle.cos(), angle.sin()


def mirror(length: int) -> Tensor:
    """2 where a frequency of the half spectrum stands for its mirror image too, else 1: (length // 2 + 1,)."""
    counts = torch.full((length // 2 + 1,), 2.0, dtype=torch.float64)
    counts[0] = 1
    if length % 2 == 0:
        counts[-1] = 1
    return counts


def kept(points: range, middle: int) -> range:
    """The points with t >= 0 where all lie evenly about the middle, else all."""
    return points[len(points) // 2 :] if points[0] + points[-1] == middle else points


def even_odd(points: range, middle: int) -> Tensor:
    """Values at the points -> their even and odd parts, (2, points kept, points). One without a partner is in both."""
    count, n = len(kept(points, middle)), len(points)
    right = torch.eye(n, dtype=torch.float64)[n - count :]
    left = right.flip(1)
    left[: 2 * count - n] = 0
    return torch.stack([right + left, right - left])
