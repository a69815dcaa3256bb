"""Cosines and sines of a discrete Fourier transform in float64, and even and odd parts, which halve its products.

Points are counted from their middle, t = p - middle / 2, and X_f = sum_p x_p exp(-2 pi i f t / period).
Where the points lie evenly about it, the cosines see x_t + x_-t only and the sines x_t - x_-t, for t >= 0.
"""

from __future__ import annotations

import math
from functools import lru_cache

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


@lru_cache(maxsize=512)
def pairs(points: range, middle: int, at_once: int) -> list[tuple[slice, slice, slice | None]]:
    """Which of the kept points, where they stand among all, and where their mirror images do, in reverse order.

    In groups of at most `at_once`. There are no images at t = 0, and where the points do not lie evenly.
    """
    n, count = len(points), len(kept(points, middle))
    alone = 2 * count - n
    groups: list[tuple[slice, slice, slice | None]] = []
    for start, stop in ((0, alone), (alone, count)):
        for i in range(start, stop, at_once):
            j = min(i + at_once, stop)
            images = slice(count - j, count - i) if start == alone else None
            groups.append((slice(i, j), slice(n - count + i, n - count + j), images))
    return groups


def for_threads(count: int) -> int:
    """The next number of matrices that all threads share evenly, where it is at most twice as many."""
    evenly = count + -count % torch.get_num_threads()
    return evenly if evenly <= 2 * count else count


def fold(values: Tensor, points: range, middle: int) -> Tensor:
    """Even part before odd part along the last axis, (2, *, points kept). A point without a partner is in both."""
    count = len(kept(points, middle))
    right, left = values[..., -count:], values[..., : len(points) - count].flip(-1)
    parts = torch.stack([right, right])
    parts[0, ..., count - left.shape[-1] :] += left
    parts[1, ..., count - left.shape[-1] :] -= left
    return parts


def unfold(parts: Tensor, points: range) -> Tensor:
    """The transpose of `fold`."""
    left = len(points) - parts.shape[-1]
    even, odd = (part[..., parts.shape[-1] - left :] for part in parts)
    return torch.cat([(even - odd).flip(-1), parts[0] + parts[1]], -1)
