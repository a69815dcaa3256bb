"""Regularised evolution: the fittest of a few drawn from a population has a child, and the oldest member goes.

Real, Aggarwal, Huang and Le, "Regularized Evolution for Image Classifier Architecture Search", AAAI 2019.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from dashfx.blackbox.base import Asking, Optimiser, Proposal, Row
from dashfx.blackbox.genomes import G, Space
from dashfx.errors import ConfigError
from dashfx.plugins import Count


@dataclass(frozen=True)
class Evolution(Optimiser):
    """First `population` random genomes, then children; members leave by age alone, however fit they are.

    Rows of an earlier search are the first members in place of random genomes.

    Args:
        tournament: how many members are drawn, without repeats, of which the fittest has the child.

    Raises:
        ConfigError: a tournament larger than the population.
    """

    population: Count = 50
    tournament: Count = 10

    def __post_init__(self) -> None:
        if not 1 <= self.tournament <= self.population:
            raise ConfigError(
                f"a tournament of {self.tournament} out of a population of {self.population}: draw at most all of it"
            )

    def begin(self, space: Space[G], generator: torch.Generator, start: Sequence[Row[G]] = ()) -> Evolving[G]:
        return Evolving(self, space, generator, start)


class Evolving(Asking[G]):
    """A population that ages."""

    def __init__(
        self, settings: Evolution, space: Space[G], generator: torch.Generator, start: Sequence[Row[G]]
    ) -> None:
        self._settings, self._space, self._generator = settings, space, generator
        self._asked = len(start)
        self.population: deque[Row[G]] = deque(start, maxlen=settings.population)

    def ask(self, n: int) -> list[Proposal[G]]:
        return [self._propose() for _ in range(n)]

    def tell(self, rows: Sequence[Row[G]]) -> None:
        self.population.extend(rows)

    def _propose(self) -> Proposal[G]:
        self._asked += 1
        if self._asked <= self._settings.population or not self.population:
            return Proposal(self._space.sample(self._generator))
        drawn = torch.randperm(len(self.population), generator=self._generator)[: self._settings.tournament]
        parent = max((self.population[i] for i in drawn.tolist()), key=lambda row: row.fitness)
        return Proposal(self._space.mutate(parent.genome, self._generator), parent.number)
