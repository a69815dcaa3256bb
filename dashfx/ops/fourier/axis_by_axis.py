"""Fourier transform of two or three axes, axis by axis, as matrix products with cosines and sines."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import torch
from torch import Tensor

from dashfx.ops.fourier.dft import cos_sin, even_odd, kept, mirror
from dashfx.ops.fourier.matrices import TINY, memory
from dashfx.ops.geometry import Points, Size

FEW_ROWS = 64  # with fewer rows at once, matrices are too thin


@dataclass(frozen=True, eq=False)
class AxisTransform:
    """The last axis and the one in the middle are transformed for all blocks, the first axis block by block.

    It needs no zero padding, any period will do, and only the points given are ever read or written. Positions are
    counted from `middle` / 2.

    The first axis has most of the work. Its even part E and odd part O, complex by then, stand in two groups, E_re with
    O_im and E_im with -O_re, that the same cosines and sines turn into real and imaginary parts: X_re = cos E_re +
    sin O_im and X_im = cos E_im - sin O_re. So the odd part enters multiplied by -i.
    """

    period: Size
    points: tuple[Points, ...]
    middle: Size
    weighted: bool = False
    in_place = True

    @cached_property
    def blocks(self) -> int:
        return (self.period[-1] // 2 + 1) * math.prod(self.period[1:-1])

    @property
    def volume(self) -> int:
        return math.prod(self.period)

    @property
    def block(self) -> int:
        return self.period[0]

    def work(self, rows: int) -> float:
        total = 0.0
        for shape in self._shapes:
            done = self.period[-1] // 2 + 1
            total += 4 * done * rows * math.prod(shape)
            for axis in reversed(range(1, len(shape) - 1)):
                total += 8 * done * self.period[axis] * rows * math.prod(shape[: axis + 1])
                done *= self.period[axis]
            total += 4 * done * self.period[0] * rows * shape[0]
        return total

    def held(self, rows: int) -> int:
        return rows * self.blocks * 2 * self._width

    def begin(self, values: Sequence[Tensor], storage: Tensor, scratch: Tensor) -> Tensor:
        """The two groups: (2, blocks, width, rows), the even points before the odd ones, set after set."""
        partial = self.blank(len(values[0]), storage)
        sets = zip(values, self._folds(partial), self._inner(partial), self._views(partial), strict=True)
        for value, fold, inner, (to_even, to_odd) in sets:
            for rows in _row_chunks(len(value), fold.numbers, scratch):
                even, odd = fold.split(value[rows], scratch)
                inner.analyse(even, 0, to_even[..., rows])
                inner.analyse(odd, 1, to_odd[..., rows])
        return partial

    def blank(self, rows: int, storage: Tensor) -> Tensor:
        return memory(storage, 2, self.blocks, self._width, rows)

    def chunks(self, partial: Tensor, step: int) -> Sequence[tuple[Tensor, Tensor]]:
        real, imag = (group.split(step) for group in partial)
        return list(zip(real, imag, strict=True))

    def at(self, blocks: range, spectrum: Tensor) -> _AxisSlice:
        return _AxisSlice(self._late(blocks, spectrum), spectrum.unflatten(1, (len(blocks), self.block)))

    def finish(self, gathered: Tensor, scratch: Tensor) -> list[Tensor]:
        values, count = [], gathered.shape[-1]
        sets = zip(self.points, self._folds(gathered), self._inner(gathered), self._views(gathered), strict=True)
        for own, fold, inner, (of_even, of_odd) in sets:
            value = gathered.new_empty(count, *map(len, own))
            for rows in _row_chunks(count, fold.numbers, scratch):
                parts = fold.parts(len(range(count)[rows]), scratch)
                inner.adjoint(of_even[..., rows], 0, parts[0])
                inner.adjoint(of_odd[..., rows], 1, parts[1])
                fold.join(parts, value[rows])
            values.append(value)
        return values

    @cached_property
    def _shapes(self) -> list[Size]:
        """The points of each set, on the first axis the ones kept."""
        return [(len(kept(own[0], self.middle[0])), *map(len, own[1:])) for own in self.points]

    @cached_property
    def _width(self) -> int:
        return 2 * sum(shape[0] for shape in self._shapes)

    def _views(self, partial: Tensor) -> Iterator[tuple[Tensor, ...]]:
        """Per set its even and its odd part of the width."""
        counts = [shape[0] for shape in self._shapes for _ in range(2)]
        views = iter(partial.split(counts, 2))
        return zip(views, views, strict=True)

    def _folds(self, like: Tensor) -> list[_Fold]:
        return _folds(self, like.dtype, like.device)

    def _inner(self, like: Tensor) -> list[_Inner]:
        return _inner_axes(self, like.dtype, like.device)

    def _late(self, blocks: range, like: Tensor) -> Tensor:
        """(blocks, freq, width)"""
        return _late_matrix(self, like.dtype, like.device).expand(len(blocks), -1, -1)


class _AxisSlice:
    """A chunk is a pair (blocks, width, rows), the two groups."""

    def __init__(self, late: Tensor, spectrum: Tensor) -> None:
        self._to_spectrum, self._from_spectrum = late, late.mT
        self._re, self._im = spectrum

    def analyse(self, chunk: tuple[Tensor, Tensor]) -> None:
        real, imag = chunk
        torch.bmm(self._to_spectrum, real, out=self._re)
        torch.bmm(self._to_spectrum, imag, out=self._im)

    def adjoint(self, chunk: tuple[Tensor, Tensor]) -> None:
        real, imag = chunk
        torch.bmm(self._from_spectrum, self._re, out=real)
        torch.bmm(self._from_spectrum, self._im, out=imag)


def _row_chunks(count: int, numbers: int, scratch: Tensor) -> list[slice]:
    """So many rows of so many numbers, in parts for which the scratch memory is large enough, unless it is tiny."""
    fit = len(scratch) // numbers
    step = fit if fit >= FEW_ROWS else count
    return [slice(start, start + step) for start in range(0, count, step)]


class _Fold:
    """The even and the odd part of a set along its first axis, as products with a matrix (2 * points kept, points).

    Of small planes PyTorch would do them in loops of its own, so there the matrix acts on all axes at once.
    """

    def __init__(self, matrix: Tensor, inner: Size) -> None:
        self._matrix, self._inner = matrix, inner
        self.numbers = len(matrix) * math.prod(inner)
        self._small = matrix.numel() * math.prod(inner) < TINY
        if self._small:
            self._all = torch.kron(matrix, torch.eye(math.prod(inner)).to(matrix)).t().contiguous()

    def split(self, value: Tensor, scratch: Tensor) -> tuple[Tensor, ...]:
        """(rows, *points) -> even and odd part, each (rows, points kept, *inner)"""
        out = memory(scratch, len(value), len(self._matrix), math.prod(self._inner))
        if self._small:
            torch.mm(value.flatten(1), self._all, out=out.flatten(1))
        else:
            torch.bmm(self._matrix.expand(len(value), -1, -1), value.flatten(2).contiguous(), out=out)
        return out.unflatten(2, self._inner).chunk(2, 1)

    def parts(self, rows: int, scratch: Tensor) -> Tensor:
        """Room for the even and the odd part, (2, points kept, rows, *inner)."""
        return memory(scratch, 2, len(self._matrix) // 2, rows, *self._inner)

    def join(self, parts: Tensor, out: Tensor) -> None:
        """(2, points kept, rows, *inner) -> (rows, *points)"""
        planes = parts.flatten(0, 1).flatten(2)
        if self._small:
            values = torch.mm(self._matrix.t(), planes.flatten(1))
            out.flatten(2).copy_(values.view(-1, *planes.shape[1:]).transpose(0, 1))
        else:
            torch.bmm(self._matrix.t().expand(len(out), -1, -1), planes.transpose(0, 1), out=out.flatten(2))


class _Inner:
    """The axes of one set but the first. Matrices are of the last axis for even and odd parts, (2, 2 * freq, points),
    and of the one before it if there is one, (freq, 2 * points), cos beside sin.
    """

    def __init__(self, last: Tensor, before: Tensor | None) -> None:
        self._last, self._before = last, before

    def analyse(self, planes: Tensor, part: int, out: Tensor) -> None:
        """(rows, count, *points) -> (2, blocks, count, rows)"""
        last, (rows, count) = self._last[part], planes.shape[:2]
        if self._before is None:
            last = last.expand(count, -1, -1)
            torch.bmm(last, planes.permute(1, 2, 0), out=out.view(-1, count, rows).transpose(0, 1))
            return
        lines = planes.flatten(1, 2)
        done = planes.new_empty(len(last), lines.shape[1], rows)
        torch.bmm(last.expand(lines.shape[1], -1, -1), lines.permute(1, 2, 0), out=done.transpose(0, 1))
        re, im = done.view(2, -1, planes.shape[2], rows)  # freq * count, points of the axis before
        cos, sin = (half.expand(len(re), -1, -1) for half in self._before.chunk(2, 1))
        found = torch.bmm(cos, re).baddbmm_(sin, im), torch.bmm(cos, im).baddbmm_(sin, re, alpha=-1)
        for target, values in zip(out, found, strict=True):
            # copied afterwards: into strided memory the products would be done one by one
            values = values.unflatten(0, (-1, count)).transpose(1, 2)
            target.view(values.shape).copy_(values)

    def adjoint(self, spectrum: Tensor, part: int, out: Tensor) -> None:
        """(2, blocks, count, rows) -> (count, rows, *points)"""
        last, (count, rows) = self._last[part], spectrum.shape[-2:]
        if self._before is None:
            lines = spectrum.view(-1, count, rows).permute(1, 2, 0)
            torch.bmm(lines, last.expand(count, -1, -1), out=out)
            return
        re, im = spectrum.view(2, -1, len(self._before), count, rows).transpose(2, 3).flatten(1, 2)
        cos, sin = (half.t().expand(len(re), -1, -1) for half in self._before.chunk(2, 1))
        done = torch.stack([torch.bmm(cos, re).baddbmm_(sin, im, alpha=-1), torch.bmm(cos, im).baddbmm_(sin, re)])
        lines = done.view(len(last), -1, rows).permute(1, 2, 0)  # count * points, rows, 2 * freq
        value = torch.bmm(lines, last.expand(len(lines), -1, -1))
        out.copy_(value.unflatten(0, (count, -1)).transpose(1, 2))


@lru_cache(maxsize=512)
def _folds(transform: AxisTransform, dtype: torch.dtype, device: torch.device) -> list[_Fold]:
    sets = [(even_odd(own[0], transform.middle[0]), tuple(map(len, own[1:]))) for own in transform.points]
    return [_Fold(parts.flatten(0, 1).to(device, dtype), inner) for parts, inner in sets]


@lru_cache(maxsize=512)
def _inner_axes(transform: AxisTransform, dtype: torch.dtype, device: torch.device) -> list[_Inner]:
    found, half = [], transform.period[-1]
    for own in transform.points:
        cos, sin = cos_sin(half, torch.arange(half // 2 + 1), own[-1], transform.middle[-1])
        if transform.weighted:
            weight = mirror(half)[:, None] / transform.volume
            cos, sin = cos * weight, sin * weight
        last = torch.stack([torch.cat([cos, -sin]), torch.cat([-sin, -cos])])
        axes = zip(transform.period[1:-1], own[1:-1], transform.middle[1:-1], strict=True)
        befores = [
            torch.cat(cos_sin(n, torch.arange(n), points, middle), 1).to(device, dtype) for n, points, middle in axes
        ]
        found.append(_Inner(last.to(device, dtype), next(iter(befores), None)))
    return found


@lru_cache(maxsize=512)
def _late_matrix(transform: AxisTransform, dtype: torch.dtype, device: torch.device) -> Tensor:
    """cos and sin of every set, (freq, width)."""
    late, middle = transform.period[0], transform.middle[0]
    sets = [cos_sin(late, torch.arange(late), kept(own[0], middle), middle) for own in transform.points]
    return torch.cat([matrix for pair in sets for matrix in pair], 1).to(device, dtype)
