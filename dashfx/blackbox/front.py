"""Front of a search with several objectives: the rows that no other row dominates."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Generic

from dashfx.blackbox.base import Row
from dashfx.blackbox.genomes import G
from dashfx.blackbox.objectives import Point, hypervolume, layers


@dataclass(frozen=True)
class Front(Generic[G]):
    """Non-dominated rows, the fittest by the first objective first; of equal points the oldest alone."""

    rows: tuple[Row[G], ...]

    @classmethod
    def of(cls, rows: Iterable[Row[G]]) -> Front[G]:
        """The front of what was evaluated in full; rows without a value in every objective take no part."""
        finite = [
            row for row in rows if row.fidelity == 1 and row.value is not None and None not in row.others.values()
        ]
        oldest = list({row.point: row for row in sorted(finite, key=lambda row: -row.number)}.values())
        kept = [row for row, layer in zip(oldest, layers([row.point for row in oldest]), strict=True) if layer == 0]
        return cls(tuple(sorted(kept, key=lambda row: (*(-each for each in row.point), row.number))))

    @property
    def points(self) -> list[Point]:
        return [row.point for row in self.rows]

    def hypervolume(self, reference: Point) -> float:
        """Of the space between the front and a point that is worse than all of interest; larger is better."""
        return hypervolume(self.points, reference)


def fittest_first(rows: Sequence[Row[G]]) -> list[Row[G]]:
    """Rows with values, front after front; within one by the first objective, the oldest of equals first."""
    finite = [row for row in rows if row.value is not None and None not in row.others.values()]
    ranks = layers([row.point for row in finite])
    order = sorted(range(len(finite)), key=lambda i: (ranks[i], -finite[i].fitness, finite[i].number))
    return [finite[i] for i in order]
