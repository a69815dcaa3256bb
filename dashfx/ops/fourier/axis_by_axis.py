"""Fourier transform of two or three axes, axis by axis, as matrix products with cosines and sines."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import torch
from torch import Tensor

from dashfx.ops.fourier.dft import cos_sin, kept, mirror
from dashfx.ops.fourier.matrices import memory
from dashfx.ops.fourier.rows import Parts, chunks, count, turn, turn_back
from dashfx.ops.geometry import Points, Size

FEW_ROWS = 64  # with fewer rows at once, matrices are too thin


@dataclass(frozen=True, eq=False)
class AxisTransform:
    """The last axis and the one in the middle are transformed for all blocks, the first axis block by block.

    It needs no zero padding, any period will do, and only the points given are ever read or written. Positions are
    counted from `middle` / 2. Points stand before rows throughout, so that every product is of long rows.

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

    def begin(self, values: Sequence[Parts], storage: Tensor, scratch: Tensor) -> Tensor:
        """The two groups side by side: (width, blocks, 2, rows), the even points before the odd ones, set after set."""
        partial = self.blank(count(values[0]), storage)
        for parts, own in zip(values, self._sets(partial), strict=True):
            for rows, piece in chunks(parts, own.fitting(scratch)):
                own.analyse(piece, rows, scratch)
        return partial

    def blank(self, rows: int, storage: Tensor) -> Tensor:
        return memory(storage, self._width, self.blocks, 2, rows)

    def chunks(self, partial: Tensor, step: int) -> Sequence[Tensor]:
        """Each (blocks, width, 2 * rows)"""
        return [part.flatten(2).transpose(0, 1) for part in partial.split(step, 1)]

    def at(self, blocks: range, spectrum: Tensor) -> _AxisSlice:
        return _AxisSlice(self._late(blocks, spectrum), spectrum.view(len(blocks), self.block, -1))

    def finish(self, gathered: Tensor, targets: Sequence[Parts], scratch: Tensor) -> None:
        for parts, own in zip(targets, self._sets(gathered), strict=True):
            for rows, piece in chunks(parts, own.fitting(scratch)):
                own.adjoint(piece, rows, scratch)

    @cached_property
    def _kept(self) -> list[int]:
        """Of each set the points on the first axis that are kept."""
        return [len(kept(own[0], self.middle[0])) for own in self.points]

    @cached_property
    def _shapes(self) -> list[Size]:
        return [(n, *map(len, own[1:])) for n, own in zip(self._kept, self.points, strict=True)]

    @cached_property
    def _width(self) -> int:
        return 2 * sum(self._kept)

    def _sets(self, partial: Tensor) -> Iterator[_Set]:
        parts = partial.split([2 * n for n in self._kept])
        for own, part, inner in zip(self.points, parts, _inner_axes(self, partial.dtype, partial.device), strict=True):
            yield _Set(tuple(map(len, own)), part.flatten(1, 2).unflatten(0, (2, -1)), inner)

    def _late(self, blocks: range, like: Tensor) -> Tensor:
        """(blocks, freq, width)"""
        return _late_matrix(self, like.dtype, like.device).expand(len(blocks), -1, -1)


class _AxisSlice:
    """A chunk is (blocks, width, 2 * rows)."""

    def __init__(self, late: Tensor, spectrum: Tensor) -> None:
        self._to_spectrum, self._from_spectrum, self._spectrum = late, late.mT, spectrum

    def analyse(self, chunk: Tensor) -> None:
        torch.bmm(self._to_spectrum, chunk, out=self._spectrum)

    def adjoint(self, chunk: Tensor) -> None:
        torch.bmm(self._from_spectrum, self._spectrum, out=chunk)


@dataclass(frozen=True)
class _Set:
    """One set of points on its way into or out of a partial spectrum, some rows at a time.

    The first axis is folded: point p and its mirror image make E = x_p + x_-p and O = x_p - x_-p. A point without a
    partner, and all of a set that does not lie evenly about the middle, is in both.

    Attributes:
        shape: of its points.
        partial: even and odd part, (2, points kept, 2 * blocks, rows).
    """

    shape: Size
    partial: Tensor
    inner: _Inner

    def fitting(self, scratch: Tensor) -> int:
        """For how many rows the scratch memory has room, but not for very few."""
        return max(FEW_ROWS, len(scratch) // (4 * math.prod(self.shape)) // FEW_ROWS * FEW_ROWS)

    def analyse(self, piece: Tensor, rows: slice, scratch: Tensor) -> None:
        turned = turn(piece, self.shape, scratch)
        for planes, last, out in zip(
            self._fold(turned, scratch[turned.numel() :]), self.inner.last, self.partial[..., rows], strict=True
        ):
            self.inner.analyse(planes, last, out)

    def adjoint(self, piece: Tensor, rows: slice, scratch: Tensor) -> None:
        size = rows.stop - rows.start
        both = memory(scratch, *self.partial.shape[:2], *self.shape[1:], size)
        for part, last, planes in zip(self.partial[..., rows], self.inner.last, both, strict=True):
            self.inner.adjoint(part, last, planes)
        rest = scratch[both.numel() :]
        turned = self._unfold(both, memory(rest, *self.shape, size))
        turn_back(turned, piece, rest[turned.numel() :])

    @property
    def _pairs(self) -> int:
        return self.shape[0] - self.partial.shape[1]

    def _fold(self, turned: Tensor, storage: Tensor) -> Tensor:
        """(points, *inner, rows) -> even and odd part (2, points kept, *inner, rows)"""
        right, pairs = turned[self._pairs :], self._pairs
        if not pairs:
            return right.expand(2, *right.shape)
        both = memory(storage, 2, *right.shape)
        both[:, : len(right) - pairs] = right[: len(right) - pairs]
        left = _mirrored(turned[:pairs], storage[both.numel() :])
        torch.add(right[-pairs:], left, out=both[0, -pairs:])
        torch.sub(right[-pairs:], left, out=both[1, -pairs:])
        return both

    def _unfold(self, both: Tensor, out: Tensor) -> Tensor:
        (even, odd), pairs = both, self._pairs
        torch.add(even, odd, out=out[pairs:])
        if pairs:
            odd[-pairs:].sub_(even[-pairs:]).neg_()
            torch.index_select(odd[-pairs:], 0, _backwards(pairs, odd.device), out=out[:pairs])
        return out


def _mirrored(planes: Tensor, storage: Tensor) -> Tensor:
    """In reverse order; `flip` would take new memory."""
    backwards = _backwards(len(planes), planes.device)
    return torch.index_select(planes, 0, backwards, out=memory(storage, *planes.shape))


class _Inner:
    """The axes of one set but the first.

    Attributes:
        last: of the last axis, for even and odd part (2, 2 * freq, points), real part and imaginary part in turn.
        before: of the one before it, if there is one: (2 * freq, 2 * points), in turn as well.
    """

    def __init__(self, last: Tensor, before: Tensor | None) -> None:
        self.last, self.before = last, before

    def analyse(self, planes: Tensor, last: Tensor, out: Tensor) -> None:
        """(points kept, *points, rows) -> (points kept, 2 * blocks, rows)"""
        if self.before is None:
            torch.bmm(last.expand(len(planes), -1, -1), planes, out=out)
            return
        lines = planes.flatten(0, 1)
        done = torch.bmm(last.expand(len(lines), -1, -1), lines).view(*planes.shape[:2], -1, 2, planes.shape[-1])
        turned = done.transpose(1, 2).flatten(2, 3).flatten(0, 1)  # points kept * freq, 2 * points, rows
        out.copy_(torch.bmm(self.before.expand(len(turned), -1, -1), turned).view(out.shape))

    def adjoint(self, spectrum: Tensor, last: Tensor, out: Tensor) -> None:
        """(points kept, 2 * blocks, rows) -> (points kept, *points, rows)"""
        if self.before is None:
            torch.bmm(last.mT.expand(len(out), -1, -1), spectrum, out=out)
            return
        lines = spectrum.reshape(-1, len(self.before), spectrum.shape[-1])
        done = torch.bmm(self.before.mT.expand(len(lines), -1, -1), lines)
        turned = done.view(len(out), -1, out.shape[1], 2, out.shape[-1]).transpose(1, 2).flatten(2, 3).flatten(0, 1)
        torch.bmm(last.mT.expand(len(turned), -1, -1), turned, out=out.flatten(0, 1))


@lru_cache(maxsize=512)
def _backwards(count: int, device: torch.device) -> Tensor:
    return torch.arange(count - 1, -1, -1, device=device)


@lru_cache(maxsize=512)
def _inner_axes(transform: AxisTransform, dtype: torch.dtype, device: torch.device) -> list[_Inner]:
    found, half = [], transform.period[-1]
    for own in transform.points:
        cos, sin = cos_sin(half, torch.arange(half // 2 + 1), own[-1], transform.middle[-1])
        if transform.weighted:
            weight = mirror(half)[:, None] / transform.volume
            cos, sin = cos * weight, sin * weight
        even, odd = torch.stack([cos, -sin], 1), torch.stack([-sin, -cos], 1)
        last = torch.stack([even, odd]).flatten(1, 2)
        axes = zip(transform.period[1:-1], own[1:-1], transform.middle[1:-1], strict=True)
        befores = [
            _turning(*cos_sin(n, torch.arange(n), points, middle)).to(device, dtype) for n, points, middle in axes
        ]
        found.append(_Inner(last.to(device, dtype), next(iter(befores), None)))
    return found


def _turning(cos: Tensor, sin: Tensor) -> Tensor:
    """The product with cos - i sin of numbers whose parts stand in turn: (freq, points) -> (2 * freq, 2 * points)."""
    rows = torch.stack([torch.stack([cos, sin], -1), torch.stack([-sin, cos], -1)], 1)  # freq, 2, points, 2
    return rows.flatten(2).flatten(0, 1)


@lru_cache(maxsize=512)
def _late_matrix(transform: AxisTransform, dtype: torch.dtype, device: torch.device) -> Tensor:
    """cos and sin of every set, (freq, width)."""
    late, middle = transform.period[0], transform.middle[0]
    sets = [cos_sin(late, torch.arange(late), kept(own[0], middle), middle) for own in transform.points]
    return torch.cat([matrix for pair in sets for matrix in pair], 1).to(device, dtype)
