"""Fourier transforms of the operands of a correlation (input, kernel, output): real values at integer points to a slice
of their spectrum and back, in the layout that products over channels want.

A `Transform` maps rows (rows, *points) to frequencies of a period. Analysis is X_f = sum_p x_p exp(-2 pi i f.p /
period) over the half spectrum of one axis, and the adjoint is its transpose as a real linear map. A weighted one scales
both by 1 / prod(period), times 2 for frequencies whose mirror image is not stored, so that its adjoint reads the
inverse transform at the points.

A spectrum is (freq, 2, rows), real before imaginary parts, and comes slice by slice: some `blocks` of frequencies,
small enough to stay in a cache between analysis, product and adjoint. So a spectrum never exists as a whole.

What can be made ahead of a slice, matrices and views, is made once in a `Slice`: a training step makes hundreds of
calls, and Python takes about as long for a view as for a product.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Protocol

import torch
from torch import Tensor

from dashfx.ops.fourier.dft import cos_sin, even_odd, kept, mirror
from dashfx.ops.fourier.matrices import memory
from dashfx.ops.fourier.rows import Parts, count, fill, stacked
from dashfx.ops.fourier.two_step import SingleAxis
from dashfx.ops.geometry import Points, Size

# One step of an FFT on one number costs as much as so many multiplications of a matrix product.
FFT_STEP = 40.0


Chunk = Any  # of one slice in what `begin` or `blank` returned: a tensor or a tuple of them


class Slice(Protocol):
    """The spectrum of one operand at some blocks of frequencies, in memory that is given once and used again."""

    def analyse(self, chunk: Chunk) -> None:
        """Fills the spectrum from what `begin` returned."""
        ...

    def adjoint(self, chunk: Chunk) -> None:
        """Adds to what `finish` makes values of. Where the chunk came from `begin`, they are replaced."""
        ...


class Transform(Protocol):
    """Of one operand's sets of points, which add up; `values` holds the rows of each (`dashfx.ops.fourier.rows`).

    Attributes:
        in_place: `adjoint` may gather in what `begin` returned, slice by slice as each has been analysed.
    """

    in_place: bool

    @property
    def points(self) -> tuple[Points, ...]: ...

    @property
    def volume(self) -> int:
        """The period, over all axes. Frequency 0 comes first."""
        ...

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
        """Numbers in what `begin` returns."""
        ...

    def begin(self, values: Sequence[Parts], storage: Tensor, scratch: Tensor) -> Tensor:
        """What all blocks have in common, a partial spectrum.

        Args:
            storage, scratch: memory that the result may take, and what it is made from, 1-D.
        """
        ...

    def blank(self, rows: int, storage: Tensor) -> Tensor:
        """For `adjoint` to gather all blocks in."""
        ...

    def chunks(self, partial: Tensor, step: int) -> Sequence[Chunk]:
        """Of what `begin` or `blank` returned, what belongs to each slice of `step` blocks."""
        ...

    def at(self, blocks: range, spectrum: Tensor) -> Slice:
        """At these blocks, with `spectrum` (blocks * block, 2, rows) as its memory."""
        ...

    def finish(self, gathered: Tensor, targets: Sequence[Parts], scratch: Tensor) -> None:
        """Fills the rows of each set once every block has been gathered."""
        ...


@dataclass(frozen=True, eq=False)
class DirectTransform(SingleAxis):
    """Every frequency of a single axis straight from the points: for short periods, and for few points.

    Frequency k = g + N1 k2 of the period N1 N2 stands at place (g, k2), g up to N1 / 2: with N2 = 1 the usual order,
    else that of `TwoStepTransform`. One of few points takes their even and odd parts; for a whole axis that
    costs as much as it saves.
    """

    few: bool = False
    in_place = False

    def work(self, rows: int) -> float:
        return 2 * self.blocks * self.block * rows * sum(self._counts)

    def held(self, rows: int) -> int:
        return (1 + self.few) * rows * sum(self._counts)

    def begin(self, values: Sequence[Parts], storage: Tensor, scratch: Tensor) -> Tensor:
        """(1, rows, points); of few points (2, rows, points), the even parts of all sets and the odd ones"""
        sets = [stacked(parts, (len(axis),)) for parts, (axis,) in zip(values, self.points, strict=True)]
        if not self.few:
            return sets[0].unsqueeze(0)
        partial = memory(storage, 2, len(sets[0]), sum(self._counts))
        for value, fold, target in zip(sets, self._folds(partial), partial.split(self._counts, 2), strict=True):
            torch.bmm(value.expand(2, -1, -1), fold.mT, out=target)
        return partial

    def blank(self, rows: int, storage: Tensor) -> Tensor:
        return storage.new_zeros(1 + self.few, rows, sum(self._counts))

    def chunks(self, partial: Tensor, step: int) -> Sequence[Chunk]:
        return [partial.mT.unbind()] * -(-self.blocks // step)

    def at(self, blocks: range, spectrum: Tensor) -> Slice:
        return _DirectSlice(self._basis(blocks, spectrum), spectrum, self.few)

    def finish(self, gathered: Tensor, targets: Sequence[Parts], scratch: Tensor) -> None:
        if not self.few:
            fill(targets[0], gathered[0])
            return
        sets = zip(targets, gathered.split(self._counts, 2), self._folds(gathered), strict=True)
        for parts, (even, odd), (to_even, to_odd) in sets:
            fill(parts, torch.mm(even, to_even).addmm_(odd, to_odd))

    @cached_property
    def _counts(self) -> list[int]:
        return [len(self._kept(axis)) for (axis,) in self.points]

    def _folds(self, like: Tensor) -> list[Tensor]:
        """Per set (2, points kept, points)."""
        return _fold_matrices(self, like.dtype, like.device)

    def _kept(self, axis: range) -> range:
        return kept(axis, self.middle) if self.few else axis

    def _basis(self, blocks: range, like: Tensor) -> Tensor:
        """cos and -sin, (freq, 2, points)"""
        basis = _direct_basis(self, like.dtype, like.device)
        return basis[blocks.start * self.block : blocks.stop * self.block]


class _DirectSlice:
    """A chunk is the values (points, rows), or a pair of their even and odd parts."""

    def __init__(self, basis: Tensor, spectrum: Tensor, few: bool) -> None:
        pairs = zip(basis.unbind(1), spectrum.unbind(1), strict=True) if few else [(basis, spectrum)]
        self._steps = [(to.reshape(-1, to.shape[-1]), part.view(-1, part.shape[-1])) for to, part in pairs]

    def analyse(self, chunk: Chunk) -> None:
        for (basis, spectrum), values in zip(self._steps, chunk, strict=True):
            torch.mm(basis, values, out=spectrum)

    def adjoint(self, chunk: Chunk) -> None:
        for (basis, spectrum), values in zip(self._steps, chunk, strict=True):
            values.addmm_(basis.t(), spectrum)


class FftTransform:
    """`torch.fft` on a zero-filled buffer: for periods so long that matrices lose. All frequencies are one block."""

    in_place = True

    def __init__(self, period: Size, points: tuple[Points, ...], weighted: bool = False) -> None:
        self.period, self.points, self.weighted = period, points, weighted
        self.block = math.prod(period[:-1]) * (period[-1] // 2 + 1)
        self.blocks, self.volume = 1, math.prod(period)

    def work(self, rows: int) -> float:
        return FFT_STEP * rows * self.block * math.log2(self.volume)

    def held(self, rows: int) -> int:
        return 2 * rows * self.block

    def begin(self, values: Sequence[Parts], storage: Tensor, scratch: Tensor) -> Tensor:
        buffer = storage.new_zeros(count(values[0]), *self.period)
        for parts, own in zip(values, self.points, strict=True):
            value = stacked(parts, tuple(map(len, own)))
            index = self._index(own, buffer)
            if isinstance(index[0], slice):
                buffer[(slice(None), *index)] += value
            else:  # points a period apart are one
                rows = torch.arange(len(value), device=value.device).view(-1, *[1] * len(index))
                buffer.index_put_((rows, *index), value, accumulate=True)
        spectrum = torch.fft.rfftn(buffer, dim=self._axes)
        if self.weighted:
            spectrum *= self._mirror(buffer) / self.volume
        return torch.view_as_real(spectrum).flatten(1, -2)  # (rows, freq, 2)

    def blank(self, rows: int, storage: Tensor) -> Tensor:
        return memory(storage, rows, self.block, 2)

    def chunks(self, partial: Tensor, step: int) -> Sequence[Chunk]:
        return [partial.permute(1, 2, 0)]

    def at(self, blocks: range, spectrum: Tensor) -> Slice:
        return _FftSlice(spectrum)

    def finish(self, gathered: Tensor, targets: Sequence[Parts], scratch: Tensor) -> None:
        joined = torch.view_as_complex(gathered).view(-1, *self.period[:-1], self.period[-1] // 2 + 1)
        if not self.weighted:
            joined = joined / self._mirror(gathered)  # irfftn counts mirrored frequencies twice
        norm = "backward" if self.weighted else "forward"
        buffer = torch.fft.irfftn(joined, s=self.period, dim=self._axes, norm=norm)
        for parts, own in zip(targets, self.points, strict=True):
            fill(parts, buffer[(slice(None), *self._index(own, buffer))])

    @property
    def _axes(self) -> tuple[int, ...]:
        return tuple(range(1, len(self.period) + 1))

    def _index(self, points: Points, like: Tensor) -> tuple[Any, ...]:
        if all(p[0] >= 0 and p[-1] < n for p, n in zip(points, self.period, strict=True)):
            return tuple(slice(p.start, p.stop, p.step) for p in points)
        return _wrapped(points, self.period, like.device)

    def _mirror(self, like: Tensor) -> Tensor:
        return mirror(self.period[-1]).to(like)


class _FftSlice:
    """A chunk is the whole spectrum (freq, 2, rows), as a view of what `torch.fft` made."""

    def __init__(self, spectrum: Tensor) -> None:
        self._spectrum = spectrum

    def analyse(self, chunk: Chunk) -> None:
        self._spectrum.copy_(chunk)

    def adjoint(self, chunk: Chunk) -> None:
        chunk.copy_(self._spectrum)


@lru_cache(maxsize=512)
def _fold_matrices(transform: DirectTransform, dtype: torch.dtype, device: torch.device) -> list[Tensor]:
    return [even_odd(axis, transform.middle).to(device, dtype) for (axis,) in transform.points]


@lru_cache(maxsize=512)
def _direct_basis(transform: DirectTransform, dtype: torch.dtype, device: torch.device) -> Tensor:
    n1, n2 = transform.period
    freq = (torch.arange(transform.blocks)[:, None] + n1 * torch.arange(n2)[None, :]).flatten()
    sets = []
    for (axis,) in transform.points:
        cos, sin = cos_sin(n1 * n2, freq, transform._kept(axis), transform.middle)
        sets.append(torch.stack([cos, -sin], 1))
    basis = torch.cat(sets, 2)
    if transform.weighted:
        basis *= mirror(n1).repeat_interleave(n2)[:, None, None] / (n1 * n2)
    return basis.to(device, dtype)


@lru_cache(maxsize=512)
def _wrapped(points: Points, period: Size, device: torch.device) -> tuple[Tensor, ...]:
    """Index tensors of the points modulo the period, one per axis, that broadcast to the grid."""
    axes = [torch.tensor([p % n for p in own], device=device) for own, n in zip(points, period, strict=True)]
    return torch.meshgrid(*axes, indexing="ij")
