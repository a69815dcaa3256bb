"""RoBoT: cheap scores are weighed by what an evaluator says of the genotypes that they prefer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from accelerate.utils import broadcast_object_list

from dashfx.blackbox.optimisers.weighted import Floats, Weighted
from dashfx.config.run import RunConfig
from dashfx.errors import ConfigError
from dashfx.genotype import Genotype
from dashfx.plugins import Count, Positive, find
from dashfx.strategies.base import Context, Evaluator, Strategy, Training, evaluator_of
from dashfx.strategies.evaluated.blackbox import BlackBox

SCORES = ("grad_norm", "snip", "grasp", "fisher", "synflow", "jacob_cov")  # those of the paper


@dataclass(frozen=True)
class Robust(Strategy):
    """Of a pool of random genotypes, those are evaluated that a weighted sum of proxies prefers; weights are learned.

    See `dashfx.blackbox.optimisers.weighted`. All but one of `blackbox.evaluations` may go into the weights.

    Args:
        evaluator: what the genotypes are worth.
        scores: cheap evaluators, of which the pool is asked as a whole.
    """

    evaluator: Evaluator = field(default_factory=lambda: find("evaluator", "train"))
    scores: tuple[str, ...] = SCORES
    pool: Count = 100
    kappa: Positive = 2.576
    paper: ClassVar[str] = "He et al., Robustifying and Boosting Training-Free Neural Architecture Search, ICLR 2024"
    row: ClassVar[str] = "136"

    @property
    def training(self) -> Training | None:
        return self.evaluator.training

    def plan(self, config: RunConfig) -> str:
        return f"{Weighted.name} by {self.evaluator.name}, {config.blackbox.evaluations} evaluations"

    def check(self, config: RunConfig) -> None:
        if config.blackbox.evaluations < 2:
            raise ConfigError(
                "search.strategy=robust with blackbox.evaluations=1: weights are learned from some and "
                "used for the rest; give --evaluations 2 or more"
            )
        self._box(lambda genotypes: np.zeros((len(genotypes), 1)), config).check(config)
        if not self.scores:
            raise ConfigError("search.strategy=robust weighs proxies, and there are none; give scores=[snip, synflow]")
        for name in self.scores:
            if evaluator_of(name, config).training is not None:
                raise ConfigError(f"search.strategy=robust asks {name!r} of all {self.pool} genotypes: give a proxy")

    def search(self, context: Context) -> Genotype:
        def score(genotypes: Sequence[Genotype]) -> Floats:
            context.note(f"{Weighted.name}: {len(genotypes)} genotypes are scored by {', '.join(self.scores)}")
            columns = [column(name, genotypes) for name in self.scores]
            return np.stack(list(broadcast_object_list(columns)), axis=1)  # several processes take one's word

        def column(name: str, genotypes: Sequence[Genotype]) -> Floats:
            asked = evaluator_of(name, context.config).begin(context)
            values = np.asarray(asked.values(genotypes), dtype=np.float64)
            return values if asked.maximise else -values

        return self._box(score, context.config).search(context)

    def _box(self, score: Callable[[Sequence[Genotype]], Floats], config: RunConfig) -> BlackBox:
        return BlackBox(Weighted(score, self.pool, config.blackbox.evaluations - 1, self.kappa), self.evaluator)
