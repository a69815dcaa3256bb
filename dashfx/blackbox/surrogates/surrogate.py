"""Search by a predictor: random genomes first, then those of a pool that promise most, and a new fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch

from dashfx.blackbox.base import Optimiser, Proposal, Row
from dashfx.blackbox.genomes import G, Space
from dashfx.blackbox.surrogates.acquire import ACQUIRE
from dashfx.blackbox.surrogates.base import Learning, check_enough, fit
from dashfx.errors import ConfigError
from dashfx.plugins import Count, find


@dataclass(frozen=True)
class BySurrogate(Optimiser):
    """After `start` random genomes a predictor of all so far picks the `top` of a pool, half of it mutants of the best.

    Args:
        predictor: "ridge", "gp", "boosting", "svr", "best" or a Predictor.
        acquire: what is picked by: "mean"; with a predictor that has spreads, "ucb", "ei" or "thompson".
        pool: how many genomes are predicted each time.
        parents: how many of the best rows have mutants in the pool.
        features: "sizes", see `Space.features`, or "one-hot".

    Raises:
        ConfigError: no such predictor, or one without spreads for an `acquire` that lives on them.
    """

    predictor: Any = "ridge"
    acquire: Literal["mean", "ucb", "ei", "thompson"] = "mean"
    start: Count = 20
    top: Count = 5
    pool: Count = 400
    parents: Count = 5
    features: Literal["sizes", "one-hot"] = "sizes"

    paper: ClassVar[str] = "Wen et al., Neural Predictor for Neural Architecture Search, ECCV 2020"
    row: ClassVar[str] = "34"

    def __post_init__(self) -> None:
        object.__setattr__(self, "predictor", find("predictor", self.predictor))
        if self.acquire != "mean" and not self.predictor.has_spread:
            raise ConfigError(
                f"surrogate: acquire={self.acquire} needs spreads, which {type(self.predictor).__name__} does not "
                "tell; take predictor gp, ridge or boosting, or acquire=mean"
            )

    def check(self, evaluations: int, objectives: int = 1) -> None:
        check_enough("surrogate", "start", self.start, evaluations)

    def begin(self, space: Space[G], generator: torch.Generator, start: Sequence[Row[G]] = ()) -> Predicting[G]:
        return Predicting(self, space, generator, start)


class Predicting(Learning[G]):
    """The `top` of a pool, again and again."""

    def __init__(
        self, settings: BySurrogate, space: Space[G], generator: torch.Generator, start: Sequence[Row[G]]
    ) -> None:
        super().__init__(settings.start, space, generator, start)
        self._settings = settings

    def _picked(self) -> list[Proposal[G]]:
        pool = self._pool()
        if not pool:
            return []
        fitted = fit(self._settings.predictor, self._features, self._rows, self._seed)
        x, best = np.array([self._features(genome) for genome in pool]), max(row.fitness for row in self._rows)
        worth = ACQUIRE[self._settings.acquire](fitted, x, best, self._generator)
        order = np.argsort(-worth, kind="stable")[: self._settings.top]
        genomes = list(pool)
        return [Proposal(genomes[i], pool[genomes[i]]) for i in order.tolist()]

    def _pool(self) -> dict[G, int | None]:
        """New genomes, each with the number of its parent: mutants of the best, and random ones."""
        best = sorted(self._rows, key=lambda row: (-row.fitness, row.number))[: self._settings.parents]
        half = self._settings.pool // 2
        found: dict[G, int | None] = {}
        for i in range(half):
            parent = best[i % len(best)]
            found.setdefault(self._space.mutate(parent.genome, self._generator), parent.number)
        for _ in range(self._settings.pool - half):
            found.setdefault(self._space.sample(self._generator), None)
        return {genome: parent for genome, parent in found.items() if genome not in self._seen}

    def _features(self, genome: G) -> np.ndarray:
        return self._space.features(genome) if self._settings.features == "sizes" else self._space.one_hot(genome)
