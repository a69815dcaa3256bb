"""Several objectives: who dominates whom, fronts, crowding, and volumes against brute force and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dashfx.blackbox.base import Row
from dashfx.blackbox.front import Front, fittest_first
from dashfx.blackbox.objectives import crowding, dominates, hypervolume, layers


def row(number: int, *point: float, fidelity: float = 1.0, lost: bool = False) -> Row[int]:
    value = None if lost else point[0]
    return Row(number, number, value, point[0], None, 0.0, {"cost": -point[1]}, tuple(point), fidelity)


def test_who_dominates_whom() -> None:
    assert dominates((1, 2), (1, 1)) and dominates((2, 2), (1, 1))
    assert not dominates((1, 1), (1, 1)) and not dominates((2, 0), (1, 1)) and not dominates((1, 1), (1, 2))


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_layers_are_those_of_peeling_by_hand(dimensions: int) -> None:
    points = [tuple(p) for p in np.random.default_rng(dimensions).integers(0, 5, (40, dimensions)).tolist()]
    left, layer, found = set(range(40)), 0, [0] * 40
    while left:
        front = {i for i in left if not any(dominates(points[j], points[i]) for j in left)}
        for i in front:
            found[i] = layer
        left, layer = left - front, layer + 1
    assert layers(points) == found and max(found) > 1
    assert layers([]) == []


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_the_volume_is_that_of_counted_cells(dimensions: int) -> None:
    points = np.random.default_rng(dimensions).integers(0, 7, (6, dimensions))
    cells = np.stack(np.meshgrid(*[np.arange(1, 7)] * dimensions, indexing="ij"), -1).reshape(-1, dimensions)
    inside = (points[:, None] >= cells[None]).all(-1).any(0).sum()  # cells whose far corner some point reaches
    assert hypervolume(points.tolist(), [0] * dimensions) == pytest.approx(float(inside), rel=1e-12)


def test_the_volume_of_nothing_and_of_what_the_reference_is_not_worse_than() -> None:
    assert hypervolume([], (0, 0)) == hypervolume([(1, 0), (-1, 5)], (0, 0)) == 0
    assert hypervolume([(1, 2)], (0, 0)) == hypervolume([(1, 2), (1, 1), (1, 2)], (0, 0)) == 2
    assert hypervolume([(1.0, 2.0), (3.0, 1.0)], (0.0, -1.0)) == 1 * 3 + 2 * 2


def test_ends_of_a_front_are_the_least_crowded() -> None:
    assert crowding([(0, 4), (1, 3), (4, 0)]) == [math.inf, 2.0, math.inf]
    assert crowding([(0, 8), (1, 7), (4, 4), (8, 0)])[1:3] == [1.0, pytest.approx(14 / 8)]
    assert crowding([(1, 1)]) == [math.inf] and crowding([]) == []


def test_a_front_has_the_oldest_of_equals_and_nothing_that_was_not_evaluated_in_full() -> None:
    rows = [row(0, 1, 5), row(1, 3, 3), row(2, 3, 3), row(3, 2, 2), row(4, 5, 1), row(5, 9, 9, fidelity=0.5)]
    rows += [row(6, 9, 9, lost=True)]
    front = Front.of(rows)
    assert [each.number for each in front.rows] == [4, 1, 0]
    assert front.hypervolume((0, 0)) == 5 * 1 + 3 * 2 + 1 * 2
    assert [each.number for each in fittest_first(rows[:5])] == [4, 1, 2, 0, 3]
    assert Front.of([]).rows == ()
