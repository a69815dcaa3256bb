"""Real values at integer points to a share of their spectrum and back, in the layout that products over channels want.

A `Side` is one party of a correlation (input, kernel or output): rows (rows, *points) on one side, frequencies of a
period on the other. Analysis is X_f = sum_p x_p exp(-2 pi i f.p / period) over the half spectrum of one axis, and the
adjoint is its transpose as a real linear map. A weighted side scales both by 1 / prod(period), times 2 for frequencies
whose mirror image is not stored, so that its adjoint reads the inverse transform at the points.

A spectrum is (2, freq, rows), real before imaginary parts, and comes slice by slice: some `blocks` of frequencies,
small enough to stay in a cache between analysis, product and adjoint. So a spectrum never exists as a whole.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Protocol

import torch
from torch import Tensor

from dashfx.ops.dft import cos_sin, fold, kept, mirror, unfold
from dashfx.ops.geometry import Points, Size
from dashfx.ops.twosteps import SingleAxis

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
        """Fills `out` (2, blocks * block, rows)."""
        ...

    def blank(self, rows: int, over: Tensor) -> Tensor:
        """Room for `adjoint` to gather all blocks in: `over`, from `open`, where its blocks may be replaced in turn."""
        ...

    def adjoint(self, spectrum: Tensor, blocks: range, into: Tensor) -> None: ...

    def close(self, gathered: Tensor) -> list[Tensor]:
        """The values once every block has been gathered."""
        ...


@dataclass(frozen=True, eq=False)
class DirectSide(SingleAxis):
    """Every frequency of a single axis straight from the points: for short periods, and for few points.

    Frequency k = g + N1 k2 of the period N1 N2 stands at place (g, k2), g up to N1 / 2: with N2 = 1 the usual order,
    else that of `TwoStepSide`. A side of few points takes their even and odd parts; for a whole axis that costs as much
    as it saves.
    """

    few: bool = False

    def work(self, rows: int) -> float:
        return 2 * self.blocks * self.block * rows * sum(self._counts)

    def held(self, rows: int) -> int:
        return (1 + self.few) * rows * sum(self._counts)

    def open(self, values: Sequence[Tensor]) -> Tensor:
        """(2, rows, points): the even parts of all sets, and the odd ones"""
        if not self.few:
            return values[0].expand(2, -1, -1)
        parts = [fold(value, axis, self.middle) for value, (axis,) in zip(values, self.points, strict=True)]
        return parts[0] if len(parts) == 1 else torch.cat(parts, 2)

    def analyse(self, opened: Tensor, blocks: range, out: Tensor) -> None:
        for part, basis, target in zip(opened, self._basis(blocks, opened), out, strict=True):
            torch.mm(basis, part.t(), out=target)

    def blank(self, rows: int, over: Tensor) -> Tensor:
        return over.new_zeros(1 + self.few, rows, sum(self._counts)).expand(2, -1, -1)

    def adjoint(self, spectrum: Tensor, blocks: range, into: Tensor) -> None:
        for part, basis, target in zip(spectrum, self._basis(blocks, into), into, strict=True):
            target.addmm_(part.t(), basis)

    def close(self, gathered: Tensor) -> list[Tensor]:
        if not self.few:
            return [gathered[0]]
        sets = zip(gathered.split(self._counts, 2), self.points, strict=True)
        return [unfold(parts, axis) for parts, (axis,) in sets]

    @cached_property
    def _counts(self) -> list[int]:
        return [len(self._kept(axis)) for (axis,) in self.points]

    def _kept(self, axis: range) -> range:
        return kept(axis, self.middle) if self.few else axis

    def _basis(self, blocks: range, like: Tensor) -> Tensor:
        """cos and -sin, (2, freq, points)"""
        basis = _direct_basis(self, like.dtype, like.device)
        return basis[:, blocks.start * self.block : blocks.stop * self.block]


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
        out.copy_(opened.permute(2, 1, 0))

    def blank(self, rows: int, over: Tensor) -> Tensor:
        return over.new_empty(rows, self.block, 2)

    def adjoint(self, spectrum: Tensor, blocks: range, into: Tensor) -> None:
        into.copy_(spectrum.permute(2, 1, 0))

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
    n1, n2 = side.period
    freq = (torch.arange(side.blocks)[:, None] + n1 * torch.arange(n2)[None, :]).flatten()
    sets = []
    for (axis,) in side.points:
        cos, sin = cos_sin(n1 * n2, freq, side._kept(axis), side.middle)
        sets.append(torch.stack([cos, -sin]))
    basis = torch.cat(sets, 2)
    if side.weighted:
        basis *= mirror(n1).repeat_interleave(n2)[:, None] / (n1 * n2)
    return basis.to(device, dtype)


@lru_cache(maxsize=512)
def _wrapped(points: Points, period: Size, device: torch.device) -> tuple[Tensor, ...]:
    """Index tensors of the points modulo the period, one per axis, that broadcast to the grid."""
    axes = [torch.tensor([p % n for p in own], device=device) for own, n in zip(points, period, strict=True)]
    return torch.meshgrid(*axes, indexing="ij")
