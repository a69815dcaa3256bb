"""The side of a correlation with two or three axes: transforms axis by axis, as products with cosines and sines."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import torch
from torch import Tensor

from dashfx.ops.dft import cos_sin, for_threads, kept, mirror, pairs
from dashfx.ops.geometry import Points, Size

# Bytes of inputs that are folded at once: a thread alone is fastest plane by plane, several want larger calls to share.
PLANES_ALONE, PLANES_CPU, PLANES = 0, 1 << 19, 1 << 28


@dataclass(frozen=True, eq=False)
class StagedSide:
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

    @cached_property
    def blocks(self) -> int:
        return (self.period[-1] // 2 + 1) * math.prod(self.period[1:-1])

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

    def open(self, values: Sequence[Tensor]) -> Tensor:
        """The two groups: (2, blocks, width, rows), the even points before the odd ones, set after set."""
        opened = values[0].new_empty(2, self.blocks, self._width, len(values[0]))
        sets = zip(values, self.points, self._inner(opened), self._views(opened), strict=True)
        for value, own, inner, (to_even, to_odd) in sets:
            for place, right, left in self._pairs(own, value):
                even = odd = value[:, right]
                if left is not None:
                    image = _reversed(value[:, left])
                    even, odd = even + image, even - image
                inner.analyse(even, 0, to_even[:, :, place])
                inner.analyse(odd, 1, to_odd[:, :, place])
        return opened

    def analyse(self, opened: Tensor, blocks: range, out: Tensor) -> None:
        late = self._late(blocks, opened)
        for group, target in zip(opened, out, strict=True):
            source = group[blocks.start : blocks.stop]
            torch.bmm(late, source, out=target.view(len(blocks), self.block, -1))

    def blank(self, rows: int, over: Tensor) -> Tensor:
        shape = 2, self.blocks, self._width, rows
        return over if over.shape == shape else over.new_empty(shape)

    def adjoint(self, spectrum: Tensor, blocks: range, into: Tensor) -> None:
        late = self._late(blocks, into).transpose(1, 2)
        for part, target in zip(spectrum, into, strict=True):
            torch.bmm(late, part.view(len(blocks), self.block, -1), out=target[blocks.start : blocks.stop])

    def close(self, gathered: Tensor) -> list[Tensor]:
        values = []
        sets = zip(self.points, self._inner(gathered), self._views(gathered), strict=True)
        for own, inner, (of_even, of_odd) in sets:
            value = gathered.new_empty(gathered.shape[-1], *map(len, own))
            for place, right, left in self._pairs(own, value):
                even, odd = inner.adjoint(of_even[:, :, place], 0), inner.adjoint(of_odd[:, :, place], 1)
                torch.add(even, odd, out=value[:, right])
                if left is not None:
                    value[:, left] = _reversed(even - odd)
            values.append(value)
        return values

    @cached_property
    def _shapes(self) -> list[Size]:
        """The points of each set, on the first axis the ones kept."""
        return [(len(kept(own[0], self.middle[0])), *map(len, own[1:])) for own in self.points]

    @cached_property
    def _width(self) -> int:
        return 2 * sum(shape[0] for shape in self._shapes)

    def _views(self, opened: Tensor) -> Iterator[tuple[Tensor, ...]]:
        """Per set its even and its odd share of the width."""
        counts = [shape[0] for shape in self._shapes for _ in range(2)]
        views = iter(opened.split(counts, 2))
        return zip(views, views, strict=True)

    def _pairs(self, points: Points, value: Tensor) -> list[tuple[slice, slice, slice | None]]:
        def fit(room: int) -> int:
            return max(1, room // max(1, value[:, 0].numel() * value.element_size()))

        if value.device.type != "cpu":
            at_once = fit(PLANES)
        else:
            at_once = for_threads(fit(PLANES_CPU if torch.get_num_threads() > 1 else PLANES_ALONE))
        return pairs(points[0], self.middle[0], at_once)

    def _inner(self, like: Tensor) -> list[_Inner]:
        return _inner_axes(self, like.dtype, like.device)

    def _late(self, blocks: range, like: Tensor) -> Tensor:
        """(blocks, freq, width)"""
        return _late_matrix(self, like.dtype, like.device).expand(len(blocks), -1, -1)


def _reversed(planes: Tensor) -> Tensor:
    return planes.flip(1) if planes.shape[1] > 1 else planes


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

    def adjoint(self, spectrum: Tensor, part: int) -> Tensor:
        """(2, blocks, count, rows) -> (rows, count, *points)"""
        last, (count, rows) = self._last[part], spectrum.shape[-2:]
        if self._before is None:
            lines = spectrum.view(-1, count, rows).permute(1, 2, 0)
            return torch.bmm(lines, last.expand(count, -1, -1)).transpose(0, 1)
        re, im = spectrum.view(2, -1, len(self._before), count, rows).transpose(2, 3).flatten(1, 2)
        cos, sin = (half.t().expand(len(re), -1, -1) for half in self._before.chunk(2, 1))
        done = torch.stack([torch.bmm(cos, re).baddbmm_(sin, im, alpha=-1), torch.bmm(cos, im).baddbmm_(sin, re)])
        lines = done.view(len(last), -1, rows).permute(1, 2, 0)  # count * points, rows, 2 * freq
        value = torch.bmm(lines, last.expand(len(lines), -1, -1))
        return value.unflatten(0, (count, -1)).permute(2, 0, 1, 3)


@lru_cache(maxsize=512)
def _inner_axes(side: StagedSide, dtype: torch.dtype, device: torch.device) -> list[_Inner]:
    found, half = [], side.period[-1]
    for own in side.points:
        cos, sin = cos_sin(half, torch.arange(half // 2 + 1), own[-1], side.middle[-1])
        if side.weighted:
            weight = mirror(half)[:, None] / math.prod(side.period)
            cos, sin = cos * weight, sin * weight
        last = torch.stack([torch.cat([cos, -sin]), torch.cat([-sin, -cos])])
        axes = zip(side.period[1:-1], own[1:-1], side.middle[1:-1], strict=True)
        befores = [
            torch.cat(cos_sin(n, torch.arange(n), points, middle), 1).to(device, dtype) for n, points, middle in axes
        ]
        found.append(_Inner(last.to(device, dtype), next(iter(befores), None)))
    return found


@lru_cache(maxsize=512)
def _late_matrix(side: StagedSide, dtype: torch.dtype, device: torch.device) -> Tensor:
    """cos and sin of every set, (freq, width)."""
    late, middle = side.period[0], side.middle[0]
    sets = [cos_sin(late, torch.arange(late), kept(own[0], middle), middle) for own in side.points]
    return torch.cat([matrix for pair in sets for matrix in pair], 1).to(device, dtype)
