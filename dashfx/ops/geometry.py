"""Tap positions of an aggregated conv: from the facts of a conv to lattices of taps that share one kernel.

Tap t of a candidate reads the input at s * o + offset for output o, offset = t * d - left. Two taps with the same
offset are the same tap, so kernels are summed by offset, and a tap that no output can bring onto the input is dropped.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

from dashfx.space import Candidate, Padding

Size = tuple[int, ...]
Points = tuple[range, ...]  # offsets or positions, one arithmetic progression per axis


@dataclass(frozen=True)
class ConvSpec:
    """All that an algorithm needs beside tensors; term i is candidate i with its own padding.

    Every term gives the same output size (the shape contract, `dashfx.space.candidate_padding`).
    """

    candidates: tuple[Candidate, ...]
    paddings: tuple[Padding, ...]
    stride: Size
    groups: int = 1
    padding_mode: str = "zeros"

    @property
    def ndim(self) -> int:
        return len(self.stride)

    def offsets(self, term: int) -> Points:
        candidate, padding = self.candidates[term], self.paddings[term]
        axes = zip(candidate.extent, candidate.dilation, padding, strict=True)
        return tuple(range(-left, extent - left + 1, dilation) for extent, dilation, (left, _) in axes)

    def output_size(self, size: Size) -> Size:
        axes = zip(size, self.candidates[0].extent, self.paddings[0], self.stride, strict=True)
        return tuple((n + left + right - extent - 1) // s + 1 for n, extent, (left, right), s in axes)

    def outputs(self, size: Size) -> Points:
        """The input positions s * o of the outputs."""
        return tuple(range(0, s * m, s) for s, m in zip(self.stride, self.output_size(size), strict=True))

    def reach(self, size: Size) -> Points:
        """The offsets that can bring some output onto the input; all others read padding zeros only."""
        return tuple(range(-p[-1], n) for n, p in zip(size, self.outputs(size), strict=True))

    def margins(self) -> Padding:
        """The widest padding of any term, per axis (left, right), never negative."""
        axes = [tuple(zip(*sides, strict=True)) for sides in zip(*self.paddings, strict=True)]
        return tuple((max(0, *lefts), max(0, *rights)) for lefts, rights in axes)

    def padded(self, margins: Padding) -> ConvSpec:
        """The same conv on an input that already carries `margins`: every term crops what it does not want."""
        paddings = tuple(
            tuple((left - a, right - b) for (left, right), (a, b) in zip(padding, margins, strict=True))
            for padding in self.paddings
        )
        return replace(self, paddings=paddings, padding_mode="zeros")

    def extended(self, size: Size) -> tuple[ConvSpec, Size]:
        """Spec and size once circular, reflect or replicate padding has been put around the input, for all terms."""
        if self.padding_mode == "zeros":
            return self, size
        margins = self.margins()
        return self.padded(margins), tuple(n + left + right for n, (left, right) in zip(size, margins, strict=True))

    def with_term(self, candidate: Candidate, padding: Padding) -> ConvSpec:
        return replace(self, candidates=(*self.candidates, candidate), paddings=(*self.paddings, padding))


@dataclass(frozen=True)
class Slot:
    """`kernel[..., taps]` of one term lands on `frame[..., place]` of its lattice."""

    term: int
    taps: tuple[slice, ...]
    place: tuple[slice, ...]


@dataclass(frozen=True)
class Lattice:
    """Offsets on a grid, dense or dilated, with the terms that have taps there."""

    points: Points
    slots: tuple[Slot, ...]

    @property
    def shape(self) -> Size:
        return tuple(map(len, self.points))

    @property
    def dilation(self) -> Size:
        return tuple(p.step if len(p) > 1 else 1 for p in self.points)


def lattice_on(points: Points, spec: ConvSpec, terms: tuple[int, ...] | None = None) -> Lattice:
    """The taps of `terms` (all, unless given) whose offsets lie on `points`."""
    slots = []
    for term in range(len(spec.candidates)) if terms is None else terms:
        pairs = [_meet(own, grid) for own, grid in zip(spec.offsets(term), points, strict=True)]
        found = [pair for pair in pairs if pair is not None]
        if len(found) == len(pairs):
            slots.append(Slot(term, tuple(own for own, _ in found), tuple(grid for _, grid in found)))
    return Lattice(points, tuple(slots))


@lru_cache(maxsize=4096)
def dense_lattice(spec: ConvSpec, size: Size | None = None) -> Lattice:
    """One grid of step 1 over the taps of all terms; cropped to those that can reach an input of `size`."""
    axes = zip(*map(spec.offsets, range(len(spec.candidates))), strict=True)
    bounds = [range(min(p[0] for p in axis), max(p[-1] for p in axis) + 1) for axis in axes]
    if size is not None:
        # range(1), the offset 0, always reaches the input: with no slots it is the zero kernel
        bounds = [_crop(b, r) or range(1) for b, r in zip(bounds, spec.reach(size), strict=True)]
    return lattice_on(tuple(bounds), spec)


@lru_cache(maxsize=4096)
def dilated_lattices(spec: ConvSpec, size: Size | None) -> tuple[Lattice, ...]:
    """One grid per dilation, cropped to the taps that can reach an input of `size` (all taps where that is None).

    Terms of one dilation share a grid when their offsets agree modulo the dilation: an even and an odd kernel need not.
    A term with a single reachable tap joins any grid that has its place, so a dilation too wide for a small map costs
    nothing. When no tap at all reaches the input, one empty grid stands for the zero kernel.
    """
    reached = {}
    for term in range(len(spec.candidates)):
        points = spec.offsets(term)
        cropped = points if size is None else tuple(map(_crop, points, spec.reach(size)))
        if all(cropped):
            reached[term] = cropped
    grids: dict[tuple[tuple[int, int], ...], list[int]] = {}
    for term, points in reached.items():
        grids.setdefault(tuple((p.step, p.start % p.step) for p in points), []).append(term)
    hulls = {key: tuple(map(_bounds, zip(*(reached[t] for t in terms), strict=True))) for key, terms in grids.items()}
    for key in sorted(grids, key=lambda key: _count(hulls[key])):
        hosts = (other for other in grids if other != key and _holds(hulls[other], hulls[key]))
        host = next(hosts, None) if _count(hulls[key]) == 1 else None
        if host is not None:
            grids[host].extend(grids.pop(key))
    origin = Lattice((range(1),) * spec.ndim, ())
    return tuple(lattice_on(hulls[key], spec, tuple(terms)) for key, terms in grids.items()) or (origin,)


def _count(points: Points) -> int:
    return max(map(len, points))


def _holds(grid: Points, points: Points) -> bool:
    return all(p[0] in g for g, p in zip(grid, points, strict=True))


def _crop(points: range, reach: range) -> range:
    """The points inside `reach` (step 1), on the same grid."""
    first = max(0, -((points.start - reach.start) // points.step))
    last = min(len(points), (reach.stop - 1 - points.start) // points.step + 1)
    return points[first : max(first, last)]


def _bounds(points: tuple[range, ...]) -> range:
    """The smallest grid over progressions of one step and phase."""
    return range(min(p[0] for p in points), max(p[-1] for p in points) + 1, points[0].step)


def _meet(own: range, grid: range) -> tuple[slice, slice] | None:
    """The common points of two progressions, as slices of each; None where there are none."""
    common = [point for point in own if point in grid]
    if not common:
        return None
    step = common[1] - common[0] if len(common) > 1 else own.step
    return _slice(own, common, step), _slice(grid, common, step)


def _slice(points: range, common: list[int], step: int) -> slice:
    return slice(points.index(common[0]), points.index(common[-1]) + 1, max(1, step // points.step))
