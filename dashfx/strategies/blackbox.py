"""Black-box strategies: an optimiser asks an evaluator what genotypes are worth; the fittest is the choice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from accelerate.utils import broadcast_object_list

from dashfx.blackbox.base import Optimiser, Row, best_of, optimise
from dashfx.blackbox.evolution import Evolution
from dashfx.config.run import RunConfig
from dashfx.cost.budgets import TRIES, Limits, first_held
from dashfx.errors import TrainingError
from dashfx.genotype import Genotype
from dashfx.plugins import find, name_of
from dashfx.strategies.base import Context, Evaluating, Evaluator, Strategy, Training
from dashfx.strategies.limited import limited
from dashfx.train.fit import derive_seed


@dataclass(frozen=True)
class BlackBox(Strategy):
    """Genotypes are evaluated one by one, `blackbox.evaluations` of them; the supernet is trained where it is asked."""

    optimiser: Optimiser = field(default_factory=Evolution)
    evaluator: Evaluator = field(default_factory=lambda: find("evaluator", "gennas"))

    @property
    def training(self) -> Training | None:
        return self.evaluator.training

    def plan(self, config: RunConfig) -> str:
        if self.training is not None:
            return self.training.plan(config)
        return f"{self._name} by {self.evaluator.name}, {config.blackbox.evaluations} evaluations"

    def search(self, context: Context) -> Genotype:
        engine = self.training.train(context) if self.training is not None else None
        rows = evaluated(context, self.evaluator.begin(context, engine), self.optimiser, context.limits)
        best, by = best_of(rows), self.evaluator.name
        if best.value is None:
            raise TrainingError(f"none of {len(rows)} evaluations by {by} gave a finite number; try another evaluator")
        if context.limits is not None:
            best = fittest_held(rows, context.limits)
        context.note(f"{self._name}: the best of {len(rows)} evaluations by {by} has {best.value:.4g}")
        return Genotype(best.genome, f"{self._name} by {by}")

    @property
    def _name(self) -> str:
        return getattr(self.optimiser, "name", "") or name_of("optimiser", self.optimiser)


def fittest_held(rows: Sequence[Row[Genotype]], limits: Limits) -> Row[Genotype]:
    """The fittest row whose whole model holds the limits, of the `TRIES` fittest ones."""
    ranked = sorted((row for row in rows if row.value is not None), key=lambda row: row.fitness, reverse=True)
    first = {row.genome: row for row in reversed(ranked)}  # of rows of one genotype the first
    best = dict.fromkeys(row.genome for row in ranked)
    return first[first_held(list(best)[:TRIES], limits)]


def evaluated(
    context: Context, evaluating: Evaluating, optimiser: Optimiser, limits: Limits | None = None
) -> list[Row[Genotype]]:
    """The rows of a search, continued from those of a killed run where this one is resumed.

    Args:
        limits: what a genotype may cost that is evaluated.
    """
    space, config = limited(evaluating.space(context.sites), limits), context.config
    generator = torch.Generator().manual_seed(derive_seed(config.seed, "blackbox"))

    def values(genotypes: Sequence[Genotype]) -> list[float]:
        return list(broadcast_object_list(evaluating.values(genotypes)))  # several processes take one's word

    return optimise(
        optimiser.begin(space, generator),
        values,
        config.blackbox.evaluations,
        maximise=evaluating.maximise,
        history=context.history(space),
        together=config.blackbox.together,
        on_row=context.on_row,
    )
