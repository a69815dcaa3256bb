"""Fourier transform of a single long axis in two steps (Cooley and Tukey 1965).

Frequency k = g + N1 k2 stands at place (g, k2) for the period N1 N2, g up to N1 / 2, and with p = N2 p1 + p2

    exp(-2 pi i k p / (N1 N2)) = exp(-2 pi i g p1 / N1) exp(-2 pi i (g + N1 k2) p2 / (N1 N2))
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from dashfx.ops.fourier.dft import cos_sin, mirror
from dashfx.ops.fourier.matrices import memory
from dashfx.ops.geometry import Points

STRIP = 128  # lines of a matrix that are turned at once


@dataclass(frozen=True, eq=False)
class SingleAxis:
    """Period, points and order of frequencies of a transform of one axis. Points count from `middle` / 2."""

    period: tuple[int, int]  # N1, N2
    points: tuple[Points, ...]
    middle: int
    weighted: bool = False

    @property
    def volume(self) -> int:
        return math.prod(self.period)

    @property
    def blocks(self) -> int:
        return self.period[0] // 2 + 1

    @property
    def block(self) -> int:
        return self.period[1]


class TwoStepTransform(SingleAxis):
    """The points are range(n); the second step is done block by block."""

    in_place = True

    def work(self, rows: int) -> float:
        return 2 * self.blocks * self.block * rows * (self._rounds + 2 * self.block)

    def held(self, rows: int) -> int:
        return 2 * rows * self.blocks * self.block

    def begin(self, values: Sequence[Tensor], storage: Tensor, scratch: Tensor) -> Tensor:
        """(blocks, 2 * p2, rows), real before imaginary parts"""
        (value,) = values
        padded = memory(scratch, self._rounds * self.block, len(value))
        _turn(value, padded[: value.shape[1]])
        padded[value.shape[1] :] = 0
        partial = self.blank(len(value), storage)
        torch.mm(self._first(value), padded.view(self._rounds, -1), out=partial.view(2 * self.blocks, -1))
        return partial

    def blank(self, rows: int, storage: Tensor) -> Tensor:
        return memory(storage, self.blocks, 2 * self.block, rows)

    def chunks(self, partial: Tensor, step: int) -> Sequence[Tensor]:
        return partial.split(step)

    def at(self, blocks: range, spectrum: Tensor) -> _TwoStepSlice:
        return _TwoStepSlice(self._second(blocks, spectrum), spectrum.unflatten(1, (len(blocks), self.block)))

    def finish(self, gathered: Tensor, scratch: Tensor) -> list[Tensor]:
        rows = gathered.shape[-1]
        points = memory(scratch, self._rounds, self.block * rows)
        torch.mm(self._first(gathered).t(), gathered.view(2 * self.blocks, -1), out=points)
        value = gathered.new_empty(rows, self._count)
        _turn(points.view(-1, rows)[: self._count], value)
        return [value]

    @property
    def _count(self) -> int:
        ((axis,),) = self.points
        return len(axis)

    @property
    def _rounds(self) -> int:
        """How many p1 there are."""
        return -(-self._count // self.block)

    def _first(self, like: Tensor) -> Tensor:
        """(blocks * 2, p1)"""
        return _first_step(self, like.dtype, like.device)

    def _second(self, blocks: range, like: Tensor) -> Tensor:
        """(2, blocks, k2, 2 * p2)"""
        return _second_step(self, like.dtype, like.device)[:, blocks.start : blocks.stop]


class _TwoStepSlice:
    """A chunk is (blocks, 2 * p2, rows)."""

    def __init__(self, second: Tensor, spectrum: Tensor) -> None:
        (self._to_re, self._to_im), (self._re, self._im) = second, spectrum
        self._from_re, self._from_im = second.mT

    def analyse(self, chunk: Tensor) -> None:
        torch.bmm(self._to_re, chunk, out=self._re)
        torch.bmm(self._to_im, chunk, out=self._im)

    def adjoint(self, chunk: Tensor) -> None:
        torch.bmm(self._from_re, self._re, out=chunk).baddbmm_(self._from_im, self._im)


def _turn(matrix: Tensor, out: Tensor) -> None:
    """Fills `out` with the transpose, in strips: PyTorch copies a whole transposed matrix on one thread."""
    for source, target in zip(matrix.split(STRIP), out.split(STRIP, 1), strict=True):
        target.copy_(source.t())


@lru_cache(maxsize=512)
def _first_step(transform: TwoStepTransform, dtype: torch.dtype, device: torch.device) -> Tensor:
    n1, n2 = transform.period
    cos, sin = cos_sin(n1, torch.arange(transform.blocks), range(transform._rounds))
    step = torch.stack([cos, -sin], 1)
    if transform.weighted:
        step *= mirror(n1)[:, None, None] / (n1 * n2)
    return step.flatten(0, 1).to(device, dtype)


@lru_cache(maxsize=512)
def _second_step(transform: TwoStepTransform, dtype: torch.dtype, device: torch.device) -> Tensor:
    n1, n2 = transform.period
    freq = torch.arange(transform.blocks)[:, None] + n1 * torch.arange(n2)
    cos, sin = cos_sin(n1 * n2, freq, range(n2), transform.middle)
    return torch.stack([torch.cat([cos, sin], -1), torch.cat([-sin, cos], -1)]).to(device, dtype)
