"""Real values at integer points to a share of their spectrum and back, in the layout that products over channels want.

A `Side` is one party of a correlation (input, kernel or output): rows (rows, *points) on one side, frequencies of a
period on the other. Analysis is X_f = sum_p x_p exp(-2 pi i f.p / period) over the half spectrum of the first axis, and
the adjoint is its transpose as a real linear map. A weighted side scales both by 1 / prod(period), times 2 for
frequencies whose mirror image is not stored, so that its adjoint reads the inverse transform at the points.

A spectrum is (freq, 2, rows), real beside imaginary parts, and comes slice by slice: some `blocks` of frequencies,
small enough to stay in a cache between analysis, product and adjoint. So a spectrum never exists as a whole.

On one axis frequency k = g + N1 k2 stands at place (g, k2) for the period N1 N2, g up to N1 / 2: with N2 = 1 it is the
usual order, else that of a transform in two steps (Cooley and Tukey 1965), with p = N2 p1 + p2:

    exp(-2 pi i k p / (N1 N2)) = exp(-2 pi i g p1 / N1) exp(-2 pi i (g + N1 k2) p2 / (N1 N2))
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import torch
from torch import Tensor

from dashfx.ops.dft import complex_to_complex, mirror, real_to_complex
from dashfx.ops.geometry import Points, Size

# One step of an FFT on one number costs as much as so many multiplications of a matrix product.
FFT_STEP = 40.0


class Side(Protocol):
    """The sets of points of one party; `values` holds one tensor (rows, *points) for each set, and the sets add up."""

    @property
    def points(self) -> tuple[Points, ...]: ...

    @property
    def blocks(self) -> int:
        """The smallest slices of frequencies that can be asked for."""
        ...

    @property
    def block(self) -> int:
        """Frequencies in a block."""
        ...

    def work(self, rows: int) -> float:
        """Multiplications of one analysis or adjoint."""
        ...

    def held(self, rows: int) -> int:
        """Numbers in what `open` returns."""
        ...

    def open(self, values: Sequence[Tensor]) -> Tensor:
        """What all blocks share."""
        ...

    def analyse(self, opened: Tensor, blocks: range, out: Tensor) -> None:
        """Fills `out` (blocks * block, 2, rows)."""
        ...

    def blank(self, rows: int, over: Tensor) -> Tensor:
        """Room for `adjoint` to gather all blocks in: `over`, from `open`, where its blocks may be replaced in turn."""
        ...

    def adjoint(self, spectrum: Tensor, blocks: range, into: Tensor) -> None: ...

    def close(self, gathered: Tensor) -> list[Tensor]:
        """The values once every block has been gathered."""
        ...


@dataclass(frozen=True)
class DirectSide:
    """Every frequency of a single axis straight from the points: for short periods, and for few points."""

    period: tuple[int, int]  # N1, N2
    points: tuple[Points, ...]
    weighted: bool = False

    @property
    def blocks(self) -> int:
        return self.period[0] // 2 + 1

    @property
    def block(self) -> int:
        return self.period[1]

    def work(self, rows: int) -> float:
        return 2 * self.blocks * self.block * rows * sum(self._counts)

    def held(self, rows: int) -> int:
        return rows * sum(self._counts)

    def open(self, values: Sequence[Tensor]) -> Tensor:
        return values[0] if len(values) == 1 else torch.cat(list(values), 1)

    def analyse(self, opened: Tensor, blocks: range, out: Tensor) -> None:
        torch.mm(self._basis(blocks, opened), opened.t(), out=out.flatten(0, 1))

    def blank(self, rows: int, over: Tensor) -> Tensor:
        return over.new_zeros(rows, sum(self._counts))

    def adjoint(self, spectrum: Tensor, blocks: range, into: Tensor) -> None:
        into.addmm_(spectrum.flatten(0, 1).t(), self._basis(blocks, into))

    def close(self, gathered: Tensor) -> list[Tensor]:
        return list(gathered.split(self._counts, 1))

    @property
    def _counts(self) -> list[int]:
        return [len(axis) for (axis,) in self.points]

    def _basis(self, blocks: range, like: Tensor) -> Tensor:
        step = 2 * self.block
        return _direct_basis(self, like.dtype, like.device)[blocks.start * step : blocks.stop * step]


@dataclass(frozen=True)
class StagedSide:
    """Axis by axis as matrix products: the last axis and those in the middle for all blocks, the first block by block.

    It needs no zero padding, any period will do, and only the points given are ever read or written. Where `twisted`,
    the points are range(n) on a single axis, and the period's axes, N2 and N1, are those of a transform in two steps.
    """

    period: Size
    points: tuple[Points, ...]
    weighted: bool = False
    twisted: bool = False

    @property
    def blocks(self) -> int:
        return (self.period[-1] // 2 + 1) * math.prod(self.period[1:-1])

    @property
    def block(self) -> int:
        return self.period[0]

    def work(self, rows: int) -> float:
        total = 0.0
        for shape in self._shapes:
            done = self.period[-1] // 2 + 1
            total += 2 * done * rows * math.prod(shape)
            for axis in reversed(range(len(shape) - 1)):
                total += 4 * done * self.period[axis] * rows * math.prod(shape[: axis + 1])
                done *= self.period[axis]
        return total

    def held(self, rows: int) -> int:
        return rows * self.blocks * 2 * sum(shape[0] for shape in self._shapes)

    def open(self, values: Sequence[Tensor]) -> Tensor:
        """(blocks, width, rows): the width holds real and imaginary parts at the first axis' points, set after set."""
        opened = []
        for value, shape, matrices in zip(values, self._shapes, self._early(values[0]), strict=True):
            part = self._last_axis(value, shape, matrices[-1])
            for axis in reversed(range(1, len(shape) - 1)):
                part = _middle_axis(part, shape[: axis + 1], matrices[axis - 1])
            opened.append(part.view(self.blocks, 2 * shape[0], -1))
        return opened[0] if len(opened) == 1 else torch.cat(opened, 1)

    def analyse(self, opened: Tensor, blocks: range, out: Tensor) -> None:
        source = opened[blocks.start : blocks.stop]
        torch.bmm(self._late(blocks, opened), source, out=out.view(len(blocks), 2 * self.block, -1))

    def blank(self, rows: int, over: Tensor) -> Tensor:
        shape = self.blocks, 2 * sum(shape[0] for shape in self._shapes), rows
        return over if over.shape == shape else over.new_empty(shape)

    def adjoint(self, spectrum: Tensor, blocks: range, into: Tensor) -> None:
        source = spectrum.view(len(blocks), 2 * self.block, -1)
        torch.bmm(self._late(blocks, into).transpose(1, 2), source, out=into[blocks.start : blocks.stop])

    def close(self, gathered: Tensor) -> list[Tensor]:
        parts = gathered.split([2 * shape[0] for shape in self._shapes], 1)
        values = []
        for part, shape, matrices in zip(parts, self._shapes, self._early(gathered), strict=True):
            for axis in range(1, len(shape) - 1):
                part = _middle_axis_adjoint(part, shape[: axis + 1], matrices[axis - 1])
            values.append(self._last_axis_adjoint(part, shape, matrices[-1]))
        return values

    def _last_axis(self, value: Tensor, shape: Size, matrix: Tensor) -> Tensor:
        """(rows, *rest, points) -> (freq * 2, rest, rows); where twisted, (rows, points of both axes)"""
        rows, points = len(value), matrix.shape[1]
        if self.twisted:
            padded = value.new_zeros(points * shape[0], rows)
            padded[: value.shape[1]] = value.t()
            return (matrix @ padded.view(points, -1)).view(len(matrix), -1, rows)
        value = value.reshape(rows, -1, points).contiguous()
        out = value.new_empty(len(matrix), value.shape[1], rows)
        torch.bmm(matrix.expand(value.shape[1], -1, -1), value.permute(1, 2, 0), out=out.transpose(0, 1))
        return out

    def _last_axis_adjoint(self, part: Tensor, shape: Size, matrix: Tensor) -> Tensor:
        rows, points = part.shape[-1], matrix.shape[1]
        if self.twisted:
            value = matrix.t() @ part.reshape(len(matrix), -1)
            return value.view(-1, rows)[: len(self.points[0][0])].t().contiguous()
        part = part.reshape(len(matrix), -1, rows)
        out = part.new_empty(rows, part.shape[1], points)
        torch.bmm(part.permute(1, 2, 0), matrix.expand(part.shape[1], -1, -1), out=out.transpose(0, 1))
        return out.view(rows, *shape)

    @property
    def _shapes(self) -> list[Size]:
        """The points of each set along the period's axes."""
        if self.twisted:
            return [(self.period[0], -(-len(axis) // self.period[0])) for (axis,) in self.points]
        return [tuple(map(len, own)) for own in self.points]

    def _early(self, like: Tensor) -> list[list[Tensor]]:
        return _early_matrices(self, like.dtype, like.device)

    def _late(self, blocks: range, like: Tensor) -> Tensor:
        """(blocks, frequencies * 2, width)"""
        matrix = _late_matrix(self, like.dtype, like.device)
        return matrix[blocks.start : blocks.stop] if self.twisted else matrix.expand(len(blocks), -1, -1)


def _middle_axis(part: Tensor, shape: Size, matrix: Tensor) -> Tensor:
    """The last axis of `shape`: (done * 2, shape, rows) -> (done * freq * 2, shape without it, rows)"""
    *rest, points = shape
    part = part.view(-1, 2, math.prod(rest), points, part.shape[-1])
    out = part.new_empty(len(part), len(matrix), part.shape[2], part.shape[-1])
    re, im = (half.expand(part.shape[2], -1, -1) for half in matrix.split(points, 1))
    for source, target in zip(part, out.transpose(1, 2), strict=True):
        torch.bmm(re, source[0], out=target)
        target.baddbmm_(im, source[1])
    return out.flatten(0, 1)


def _middle_axis_adjoint(part: Tensor, shape: Size, matrix: Tensor) -> Tensor:
    """(done * freq * 2, shape without its last axis, rows) -> (done * 2, shape, rows)"""
    *rest, points = shape
    part = part.reshape(-1, len(matrix), math.prod(rest), part.shape[-1]).transpose(1, 2)
    out = part.new_empty(len(part), 2, part.shape[1], points, part.shape[-1])
    halves = [half.t().expand(part.shape[1], -1, -1) for half in matrix.split(points, 1)]
    for source, target in zip(part, out, strict=True):
        for half, place in zip(halves, target, strict=True):
            torch.bmm(half, source, out=place)
    return out.flatten(0, 1).flatten(1, 2)


class FftSide:
    """`torch.fft` on a zero-filled buffer: for periods so long that matrices lose. All frequencies are one block."""

    def __init__(self, period: Size, points: tuple[Points, ...], weighted: bool = False) -> None:
        self.period, self.points, self.weighted = period, points, weighted
        self.block = math.prod(period[:-1]) * (period[-1] // 2 + 1)
        self.blocks = 1

    def work(self, rows: int) -> float:
        return FFT_STEP * rows * self.block * math.log2(math.prod(self.period))

    def held(self, rows: int) -> int:
        return 2 * rows * self.block

    def open(self, values: Sequence[Tensor]) -> Tensor:
        buffer = values[0].new_zeros(len(values[0]), *self.period)
        for value, own in zip(values, self.points, strict=True):
            buffer[(slice(None), *self._index(own, buffer))] += value
        spectrum = torch.fft.rfftn(buffer, dim=self._axes)
        if self.weighted:
            spectrum *= self._mirror(buffer) / math.prod(self.period)
        return torch.view_as_real(spectrum).flatten(1, -2)  # (rows, freq, 2)

    def analyse(self, opened: Tensor, blocks: range, out: Tensor) -> None:
        out.copy_(opened.permute(1, 2, 0))

    def blank(self, rows: int, over: Tensor) -> Tensor:
        return over.new_empty(rows, self.block, 2)

    def adjoint(self, spectrum: Tensor, blocks: range, into: Tensor) -> None:
        into.copy_(spectrum.permute(2, 0, 1))

    def close(self, gathered: Tensor) -> list[Tensor]:
        joined = torch.view_as_complex(gathered).view(-1, *self.period[:-1], self.period[-1] // 2 + 1)
        if not self.weighted:
            joined = joined / self._mirror(gathered)  # irfftn counts mirrored frequencies twice
        norm = "backward" if self.weighted else "forward"
        buffer = torch.fft.irfftn(joined, s=self.period, dim=self._axes, norm=norm)
        return [buffer[(slice(None), *self._index(own, buffer))].contiguous() for own in self.points]

    @property
    def _axes(self) -> tuple[int, ...]:
        return tuple(range(1, len(self.period) + 1))

    def _index(self, points: Points, like: Tensor) -> tuple[slice | Tensor, ...]:
        if all(p[0] >= 0 and p[-1] < n for p, n in zip(points, self.period, strict=True)):
            return tuple(slice(p.start, p.stop, p.step) for p in points)
        return _wrapped(points, self.period, like.device)

    def _mirror(self, like: Tensor) -> Tensor:
        return mirror(self.period[-1]).to(like)


@lru_cache(maxsize=512)
def _direct_basis(side: DirectSide, dtype: torch.dtype, device: torch.device) -> Tensor:
    """cos and -sin, (freq * 2, points of all sets)"""
    n1, n2 = side.period
    freq = (torch.arange(side.blocks)[:, None] + n1 * torch.arange(n2)[None, :]).flatten()
    basis = torch.stack(real_to_complex(n1 * n2, freq, [axis for (axis,) in side.points]), 1)
    if side.weighted:
        basis *= mirror(n1).repeat_interleave(n2)[:, None, None] / (n1 * n2)
    return basis.flatten(0, 1).to(device, dtype)


@lru_cache(maxsize=512)
def _early_matrices(side: StagedSide, dtype: torch.dtype, device: torch.device) -> list[list[Tensor]]:
    """Per set and axis but the first a matrix (freq * 2, parts * points); the last axis has real parts only."""
    found = []
    for own, shape in zip(side.points, side._shapes, strict=True):
        axes = own[1:] if not side.twisted else (range(shape[1]),)
        matrices = []
        for length, axis in zip(side.period[1:-1], axes[:-1], strict=True):
            matrices.append(complex_to_complex(length, torch.arange(length), axis))
        half = side.period[-1]
        last = torch.stack(real_to_complex(half, torch.arange(half // 2 + 1), axes[-1:]), 1)
        if side.weighted:
            last *= mirror(half)[:, None, None] / math.prod(side.period)
        found.append([matrix.to(device, dtype) for matrix in (*matrices, last.flatten(0, 1))])
    return found


@lru_cache(maxsize=512)
def _late_matrix(side: StagedSide, dtype: torch.dtype, device: torch.device) -> Tensor:
    """(freq * 2, width), or (blocks, freq * 2, width) where twisted."""
    late, half = side.period[0], side.period[-1]
    if side.twisted:
        freq = torch.arange(side.blocks)[:, None] + half * torch.arange(late)
        return complex_to_complex(half * late, freq, range(late)).to(device, dtype)
    sets = [complex_to_complex(late, torch.arange(late), own[0]) for own in side.points]
    return torch.cat(sets, -1).to(device, dtype)


@lru_cache(maxsize=512)
def _wrapped(points: Points, period: Size, device: torch.device) -> tuple[Tensor, ...]:
    """Index tensors of the points modulo the period, one per axis, that broadcast to the grid."""
    axes = [torch.tensor([p % n for p in own], device=device) for own, n in zip(points, period, strict=True)]
    return torch.meshgrid(*axes, indexing="ij")
