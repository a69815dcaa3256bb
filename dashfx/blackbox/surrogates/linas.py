"""LINAS: light predictors of every objective, and NSGA-II on what they predict, in turn with true evaluations.

Cummings et al., "A Hardware-Aware Framework for Accelerating Neural Architecture Search Across Modalities", 2022; the
same loop in Cummings et al., "Accelerating Neural Architecture Exploration Across Modalities Using Genetic
Algorithms", 2022, and, begun from another device's results, in Sarah et al., "A Hardware-Aware System for Accelerating
Deep Neural Network Optimization", 2022.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from dashfx.blackbox.base import Optimiser, Proposal, Row, optimise
from dashfx.blackbox.genomes import G, Space
from dashfx.blackbox.objectives import Objective, crowding, layers
from dashfx.blackbox.optimisers.samplers import Nsga2
from dashfx.blackbox.surrogates.base import Learning, check_enough, fit
from dashfx.errors import ConfigError
from dashfx.plugins import Count, find


@dataclass(frozen=True)
class Linas(Optimiser):
    """A random population, then again and again: predictors are fitted, NSGA-II searches them, its best are evaluated.

    Args:
        population: evaluated together, and of the inner search.
        predicted: how many evaluations the inner search makes on predictions.
        predictor: of each objective: "best", "ridge", "gp", "boosting", "svr" or a Predictor.
    """

    population: Count = 50
    predicted: Count = 500
    predictor: Any = "best"

    paper: ClassVar[str] = "Cummings et al., A Hardware-Aware Framework for Accelerating NAS Across Modalities, 2022"
    row: ClassVar[str] = "59, 31, 79"

    def __post_init__(self) -> None:
        object.__setattr__(self, "predictor", find("predictor", self.predictor))
        if self.population < 2:
            raise ConfigError(f"linas with population={self.population}: give 2 or more")

    def check(self, evaluations: int, objectives: int = 1) -> None:
        check_enough("linas", "population", self.population, evaluations)

    def begin(self, space: Space[G], generator: torch.Generator, start: Sequence[Row[G]] = ()) -> Iterating[G]:
        return Iterating(self, space, generator, start)


class Iterating(Learning[G]):
    """What an inner search finds on predictions, again and again; rows of `start` count as the first population."""

    def __init__(self, settings: Linas, space: Space[G], generator: torch.Generator, start: Sequence[Row[G]]) -> None:
        super().__init__(settings.population, space, generator, start)
        self._settings = settings

    def _counts(self, row: Row[G]) -> bool:
        return row.value is not None and None not in row.others.values()

    def _picked(self) -> list[Proposal[G]]:
        """New genomes of the inner search: front after front of what is predicted, the least crowded first."""
        predicted = self._searched()
        new = [genome for genome in predicted if genome not in self._seen]
        if not new:
            return []
        points = [predicted[genome] for genome in new]
        ranks, room = layers(points), crowding(points)
        order = sorted(range(len(new)), key=lambda i: (ranks[i], -room[i], i))
        return [Proposal(new[i]) for i in order[: self._settings.population]]

    def _searched(self) -> dict[G, tuple[float, ...]]:
        """Every genome that NSGA-II looked at on the predictors, with what they say of it."""
        count, features = len(self._rows[0].point), self._space.features
        fits = [fit(self._settings.predictor, features, self._rows, self._seed, i) for i in range(count)]

        def predict(genomes: Sequence[G]) -> list[tuple[float, ...]]:
            x = np.array([features(genome) for genome in genomes])
            return list(zip(*(each.mean(x).tolist() for each in fits), strict=True))

        known = [row.genome for row in self._rows]
        start = [
            Row(i, genome, point[0], point[0], None, 0.0, fitnesses=point)
            for i, (genome, point) in enumerate(zip(known, predict(known), strict=True))
        ]
        others = tuple(Objective(str(i), maximise=True) for i in range(1, count))
        inner = Nsga2(self._settings.population).begin(self._space, self._generator, start)
        rows = optimise(
            inner,
            predict,
            self._settings.predicted,
            maximise=True,
            others=others,
            together=self._settings.population,
        )
        return {row.genome: row.point for row in rows}
