"""Local search: climb from a random genome to neighbours that are fitter, and start anew where none is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from dashfx.blackbox.base import Asking, Optimiser, Proposal, Row, best_of
from dashfx.blackbox.genomes import G, Space
from dashfx.plugins import Count

TRIES = 20  # mutations until one is new


@dataclass(frozen=True)
class LocalSearch(Optimiser):
    """The first fitter neighbour becomes the place to go on from.

    Args:
        patience: so many neighbours in a row that are not fitter, and the climb starts again elsewhere.
    """

    patience: Count = 30

    def begin(self, space: Space[G], generator: torch.Generator, start: Sequence[Row[G]] = ()) -> Climbing[G]:
        return Climbing(space, generator, self.patience, start)


class Climbing(Asking[G]):
    """Where the climb stands; it begins at the fittest row of `start`, where there is one."""

    def __init__(self, space: Space[G], generator: torch.Generator, patience: int, start: Sequence[Row[G]]) -> None:
        self._space, self._generator, self._patience = space, generator, patience
        self._here: Row[G] | None = best_of(start) if start else None
        self._failures = 0
        self._seen: set[G] = {row.genome for row in start}

    def ask(self, n: int) -> list[Proposal[G]]:
        return [self._propose() for _ in range(n)]

    def tell(self, rows: Sequence[Row[G]]) -> None:
        for row in rows:
            if self._here is None or row.fitness > self._here.fitness:
                self._here, self._failures = row, 0
            else:
                self._failures += 1
        if self._failures >= self._patience:
            self._here, self._failures = None, 0

    def _propose(self) -> Proposal[G]:
        if self._here is None:
            genome, parent = self._space.sample(self._generator), None
        else:
            genome, parent = self._neighbour(self._here.genome), self._here.number
        self._seen.add(genome)
        return Proposal(genome, parent)

    def _neighbour(self, of: G) -> G:
        for _ in range(TRIES):
            genome = self._space.mutate(of, self._generator)
            if genome not in self._seen:
                break
        return genome
