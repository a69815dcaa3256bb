"""Objectives of a search: which way each is better, who dominates whom, and the volume that a front dominates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Point = Sequence[float]  # the fitness of each objective; larger is better


@dataclass(frozen=True)
class Objective:
    """One of several things that a search is to improve.

    Attributes:
        maximise: whether larger values are better.
        unit: of its values, for people who read them.
    """

    name: str
    maximise: bool = False
    unit: str = ""


def dominates(a: Point, b: Point) -> bool:
    """Whether `a` is as good as `b` everywhere and better somewhere."""
    return all(x >= y for x, y in zip(a, b, strict=True)) and tuple(a) != tuple(b)


def layers(points: Sequence[Point]) -> list[int]:
    """How many fronts have to be taken away before a point is dominated by none; 0 is the front.

    Non-dominated sorting (Deb et al., NSGA-II, IEEE Transactions on Evolutionary Computation 2002).
    """
    array = np.asarray(points, dtype=float).reshape(len(points), -1 if points else 0)
    at_least: np.ndarray = np.all(array[:, None] >= array[None], axis=-1)
    better = at_least & ~at_least.T  # (n, n): whether the row's point dominates the column's
    found, left, layer = np.zeros(len(array), dtype=int), np.ones(len(array), dtype=bool), 0
    while left.any():
        front = left & ~better[left].any(0)
        found[front], left, layer = layer, left & ~front, layer + 1
    return [int(each) for each in found]


def crowding(points: Sequence[Point]) -> list[float]:
    """How far each point's neighbours on either side are apart, added up over the objectives; infinite at the ends.

    Deb et al. (2002); every objective at its own range.
    """
    array = np.asarray(points, dtype=float).reshape(len(points), -1 if points else 0)
    found = np.zeros(len(array))
    for column in array.T:
        order = np.argsort(column, kind="stable")
        extent = column[order[-1]] - column[order[0]] if len(order) else 0.0
        found[order[[0, -1]]] = np.inf
        if extent > 0:
            found[order[1:-1]] += (column[order[2:]] - column[order[:-2]]) / extent
    return [float(each) for each in found]


def hypervolume(points: Sequence[Point], reference: Point) -> float:
    """The volume of everything that a point dominates and that dominates `reference`; exact, in any dimension.

    Slices along the last objective, from its best value down: each is the volume of the points so far in one
    dimension less, times its thickness.
    """
    inside = [tuple(map(float, p)) for p in points if all(x > r for x, r in zip(p, reference, strict=True))]
    if not inside:
        return 0.0
    if len(reference) == 1:
        return max(p[0] for p in inside) - float(reference[0])
    heights = sorted({p[-1] for p in inside}, reverse=True)
    volume = 0.0
    for height, below in zip(heights, [*heights[1:], float(reference[-1])], strict=True):
        volume += (height - below) * hypervolume([p[:-1] for p in inside if p[-1] >= height], reference[:-1])
    return volume
