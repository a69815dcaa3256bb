"""Fourier transform of a single long axis in two steps (Cooley and Tukey 1965).

Frequency k = g + N1 k2 stands at place (g, k2) for the period N1 N2, g up to N1 / 2, and with p = N2 p1 + p2

    exp(-2 pi i k p / (N1 N2)) = exp(-2 pi i g p1 / N1) exp(-2 pi i (g + N1 k2) p2 / (N1 N2))
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from dashfx.ops.fourier.dft import cos_sin, mirror
from dashfx.ops.fourier.matrices import memory
from dashfx.ops.fourier.rows import Parts, count
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

    def begin(self, values: Sequence[Parts], storage: Tensor, scratch: Tensor) -> Tensor:
        """(blocks, 2 * p2, rows), real before imaginary parts"""
        rows = count(values[0])
        padded = memory(scratch, self._rounds * self.block, rows)
        for lines, place in _strips(values[0]):
            padded[: lines.shape[1], place].copy_(lines.t())
            padded[lines.shape[1] :, place] = 0
        partial = self.blank(rows, storage)
        torch.mm(self._first(padded), padded.view(self._rounds, -1), out=partial.view(2 * self.blocks, -1))
        return partial

    def blank(self, rows: int, storage: Tensor) -> Tensor:
        return memory(storage, self.blocks, 2 * self.block, rows)

    def chunks(self, partial: Tensor, step: int) -> Sequence[Tensor]:
        return partial.split(step)

    def at(self, blocks: range, spectrum: Tensor) -> _TwoStepSlice:
        return _TwoStepSlice(self._second(blocks, spectrum), spectrum.view(len(blocks), 2 * self.block, -1))

    def finish(self, gathered: Tensor, targets: Sequence[Parts], scratch: Tensor) -> None:
        rows = gathered.shape[-1]
        points = memory(scratch, self._rounds, self.block * rows)
        torch.mm(self._first(gathered).t(), gathered.view(2 * self.blocks, -1), out=points)
        for lines, place in _strips(targets[0]):
            lines.copy_(points.view(-1, rows)[: lines.shape[1], place].t())

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
        """(blocks, 2 * k2, 2 * p2)"""
        return _second_step(self, like.dtype, like.device)[blocks.start : blocks.stop]


class _TwoStepSlice:
    """A chunk is (blocks, 2 * p2, rows)."""

    def __init__(self, second: Tensor, spectrum: Tensor) -> None:
        self._to_spectrum, self._from_spectrum, self._spectrum = second, second.mT, spectrum

    def analyse(self, chunk: Tensor) -> None:
        torch.bmm(self._to_spectrum, chunk, out=self._spectrum)

    def adjoint(self, chunk: Tensor) -> None:
        torch.bmm(self._from_spectrum, self._spectrum, out=chunk)


def _strips(parts: Parts) -> Iterator[tuple[Tensor, slice]]:
    """Some lines (rows, points) at a time with their place: PyTorch copies a whole transposed matrix on one thread."""
    start = 0
    for part in parts:
        outer = part.shape[0] * part.shape[1] if part.stride(0) == part.shape[1] * part.stride(1) else 0
        for lines in [part.flatten(0, 1)] if outer else part.unbind():
            for strip in lines.split(STRIP):
                yield strip, slice(start, start + len(strip))
                start += len(strip)


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
    return torch.stack([torch.cat([cos, sin], -1), torch.cat([-sin, cos], -1)], 2).flatten(1, 2).to(device, dtype)
