"""A kind of signal, a count and a generator go in; synthetic maps to regress come out (GenNAS, NeurIPS 2021).

Each function returns (draws, maps, *grid) in float32 on the CPU. One draw serves a whole batch (global), or there is
one for each image (local).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter1d
from torch import Generator, Tensor

Grid = tuple[int, ...]

GRIDS: dict[int, Grid] = {1: (64,), 2: (8, 8)}  # cells of a map, by the number of spatial axes
BANDS = {"low": (0.0, 0.125), "medium": (0.125, 0.35), "high": (0.375, 0.4875)}  # cycles per cell
FREQUENCIES = 10
PHASES = 32


def sin1d(draws: int, maps: int, grid: Grid, generator: Generator, band: str = "high") -> Tensor:
    """Sine or cosine of 2 pi b x + phase along any one axis: `maps` different ones of them for each draw."""
    phases = torch.arange(PHASES) * (2 * math.pi / PHASES)
    pool = []
    for axis in range(len(grid)):
        angle = _waves(band, grid, axis)[:, None] + phases.reshape(-1, *(1,) * len(grid))
        pool += [angle.sin(), angle.cos()]  # (frequencies, phases, *grid with 1 beside the axis)
    return _keep(torch.cat([p.flatten(0, 1).expand(-1, *grid) for p in pool]), draws, maps, generator)


def sin2d(draws: int, maps: int, grid: Grid, generator: Generator, band: str = "high") -> Tensor:
    """Sine or cosine of 2 pi (b1 x + b2 y) + 2 phase, or its mirror image, at a random phase for each map.

    The grid has two axes.
    """
    angle = (_waves(band, grid, 1)[:, None] + _waves(band, grid, 0)[None]).flatten(0, 1)  # (frequencies ** 2, *grid)
    angle = torch.cat([angle, angle.flip(-1)])
    angle = torch.cat([angle, angle + math.pi / 2])  # cos is sin a quarter period on
    phase = torch.rand(draws, maps, 1, 1, generator=generator) * (2 * math.pi)
    return (_keep(angle, draws, maps, generator) + 2 * phase).sin()


def dot(draws: int, maps: int, grid: Grid, generator: Generator, share: float = 1.0) -> Tensor:
    """int(share * cells) different cells of each map at +1 or -1, the others at 0."""
    cells = math.prod(grid)
    chosen = torch.rand(draws, maps, cells, generator=generator).argsort(-1)[..., : int(share * cells)]
    signs = torch.randint(2, chosen.shape, generator=generator) * 2.0 - 1.0
    return torch.zeros(draws, maps, cells).scatter(-1, chosen, signs).reshape(draws, maps, *grid)


def gdot(draws: int, maps: int, grid: Grid, generator: Generator, share: float = 1.0) -> Tensor:
    """`dot` through a Gaussian filter of one cell, each map scaled to a largest size of 1.

    The authors divide by the maximum, which turns a map of negative dots upside down and blows up a faint one; here
    it is the maximum of the absolute value.
    """
    blurred = dot(draws, maps, grid, generator, share)
    for axis, side in enumerate(grid, start=2):
        blurred = (blurred.transpose(axis, -1) @ _gaussian(side).T).transpose(axis, -1)
    largest = blurred.abs().flatten(2).amax(-1).reshape(draws, maps, *(1,) * len(grid))
    return blurred / largest.clamp_min(1e-12)


def resize(batch: Tensor, maps: int, grid: Grid, generator: Generator) -> Tensor:
    """The batch itself on the grid, scaled to -1..1 over the whole batch; each map shows one channel at random."""
    small = F.interpolate(batch, size=grid, mode="linear" if len(grid) == 1 else "bilinear")
    low, high = small.amin(), small.amax()
    small = (small - low) / (high - low).clamp_min(1e-12) * 2 - 1
    return small[:, torch.randint(batch.shape[1], (maps,), generator=generator)]


SYNTHETIC: dict[str, Callable[..., Tensor]] = {"sin1d": sin1d, "sin2d": sin2d, "dot": dot, "gdot": gdot}
KINDS = (*SYNTHETIC, "resize")


def _waves(band: str, grid: Grid, axis: int) -> Tensor:
    """(frequencies, *grid with 1 on every other axis): 2 pi b x for x = 1, 2, ... along the axis."""
    place = torch.arange(1, grid[axis] + 1, dtype=torch.float32)
    angle = 2 * math.pi * torch.linspace(*BANDS[band], FREQUENCIES)[:, None] * place
    return angle.reshape(-1, *(n if i == axis else 1 for i, n in enumerate(grid)))


def _keep(pool: Tensor, draws: int, maps: int, generator: Generator) -> Tensor:
    """(pool, *grid) -> (draws, maps, *grid), without a repetition within a draw as far as the pool reaches."""
    order = torch.rand(draws, len(pool), generator=generator).argsort(-1)
    return pool[order[:, torch.arange(maps) % len(pool)]]


@lru_cache
def _gaussian(side: int) -> Tensor:
    """(side, side): the filter as a matrix, mirrored at the borders."""
    return torch.from_numpy(gaussian_filter1d(torch.eye(side).numpy(), sigma=1.0, axis=0))
