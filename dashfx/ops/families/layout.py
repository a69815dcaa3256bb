"""Layout of a searched conv's parameters: a flat list, with the places of each candidate's own in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from dashfx.ops.families.base import Family, Size
from dashfx.ops.families.dense import Dense
from dashfx.site import Site
from dashfx.space import Candidate


@dataclass(frozen=True)
class Layout:
    """Where parameters stand.

    Attributes:
        shapes, bounds: of each parameter, and what a fresh one lies within.
        places: of each candidate the numbers of its parameters.
        is_plain: whether each candidate's kernel is its one parameter.
        all_biased: whether the bias counts whatever the coefficients.
    """

    shapes: tuple[Size, ...]
    bounds: tuple[float, ...]
    places: tuple[tuple[int, ...], ...]
    is_plain: bool
    all_biased: bool


def laid_out(site: Site, candidates: Sequence[Candidate], families: Sequence[Family]) -> Layout:
    """Parameters candidate by candidate; those of a family that shares them stand with the first of it."""
    shapes: list[Size] = []
    places: list[tuple[int, ...]] = []
    held: dict[Family, tuple[int, ...]] = {}
    for family, candidate in zip(families, candidates, strict=True):
        own = held.get(family) if family.shares else None
        if own is None:
            found = family.shapes(site, candidate)
            own = tuple(range(len(shapes), len(shapes) + len(found)))
            shapes += found
            held[family] = own
        places.append(own)
    bounds = dict[int, float]()
    for family, own in zip(families, places, strict=True):
        bounds |= {place: family.bound(site, shapes[place]) for place in own}
    plain = all(type(family) is Dense for family in families)
    biased = all(family.biased for family in families)
    return Layout(tuple(shapes), tuple(bounds[i] for i in range(len(shapes))), tuple(places), plain, biased)


def layout_without(layout: Layout, indices: Sequence[int], families: Sequence[Family]) -> tuple[Layout, list[int]]:
    """The layout of these candidates, whose families are given, and which parameters of the former stay."""
    left = list(dict.fromkeys(place for i in indices for place in layout.places[i]))
    now = {place: number for number, place in enumerate(left)}
    return (
        replace(
            layout,
            shapes=tuple(layout.shapes[place] for place in left),
            bounds=tuple(layout.bounds[place] for place in left),
            places=tuple(tuple(now[place] for place in layout.places[i]) for i in indices),
            is_plain=all(type(family) is Dense for family in families),
            all_biased=all(family.biased for family in families),
        ),
        left,
    )
