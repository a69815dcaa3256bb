"""Regularised evolution: the fittest of a few drawn from a population has a child, and the oldest member goes.

Real, Aggarwal, Huang and Le, "Regularized Evolution for Image Classifier Architecture Search", AAAI 2019.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import torch

from dashfx.blackbox.base import BlackBox, Proposal, Row
from dashfx.blackbox.genomes import G, Space
from dashfx.errors import ConfigError


class Evolution(BlackBox[G]):
    """First `population` random genomes, then children; members leave by age alone, however fit they are.

    Args:
        start: rows of an earlier search, which are the first members in place of random genomes, oldest first.
        tournament: how many members are drawn, without repeats, of which the fittest has the child.

    Raises:
        ConfigError: a tournament larger than the population.
    """

    def __init__(
        self,
        space: Space[G],
        generator: torch.Generator,
        population: int = 50,
        tournament: int = 10,
        start: Sequence[Row[G]] = (),
    ) -> None:
        if not 1 <= tournament <= population:
            raise ConfigError(
                f"a tournament of {tournament} out of a population of {population}: draw at most all of it"
            )
        self._space, self._generator, self._size, self._tournament = space, generator, population, tournament
        self._asked = len(start)
        self.population: deque[Row[G]] = deque(start, maxlen=population)

    def ask(self, n: int) -> list[Proposal[G]]:
        return [self._propose() for _ in range(n)]

    def tell(self, rows: Sequence[Row[G]]) -> None:
        self.population.extend(rows)

    def _propose(self) -> Proposal[G]:
        self._asked += 1
        if self._asked <= self._size or not self.population:
            return Proposal(self._space.sample(self._generator))
        drawn = torch.randperm(len(self.population), generator=self._generator)[: self._tournament]
        parent = max((self.population[i] for i in drawn.tolist()), key=lambda row: row.fitness)
        return Proposal(self._space.mutate(parent.genome, self._generator), parent.number)
