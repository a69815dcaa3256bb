"""Black-box strategies: an optimiser asks an evaluator what genotypes are worth; the fittest is the choice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from accelerate.utils import broadcast_object_list

from dashfx.blackbox.base import Optimiser, Row, best_of, optimise
from dashfx.blackbox.front import Front
from dashfx.blackbox.genomes import Space
from dashfx.blackbox.genotype_table import GenotypeTable, best_first, bound_to
from dashfx.blackbox.objectives import Objective
from dashfx.blackbox.optimisers.evolution import Evolution
from dashfx.blackbox.optimisers.started import Started
from dashfx.config.run import RunConfig
from dashfx.cost.budgets import TRIES, Limit, Limits, first_held
from dashfx.cost.named import total_of
from dashfx.errors import ConfigError, TrainingError
from dashfx.genotype import Genotype
from dashfx.plugins import find, name_of
from dashfx.strategies.base import Context, Evaluating, Evaluator, Strategy, Training
from dashfx.strategies.evaluated.cached import Cached
from dashfx.strategies.evaluated.limited import limited
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
        cache, by = context.config.blackbox.cache, self.evaluator.name
        evaluator = Cached(self.evaluator, cache) if cache else self.evaluator
        evaluating = evaluator.begin(context, engine)
        optimiser = self._started(limited(evaluating.space(context.sites), context.limits), context)
        rows = evaluated(context, evaluating, optimiser, context.limits, context.costs)
        best = best_of(rows)
        if best.value is None:
            raise TrainingError(f"none of {len(rows)} evaluations by {by} gave a finite number; try another evaluator")
        if context.limits is not None:
            best = fittest_held([row for row in rows if row.fidelity == best.fidelity], context.limits)
        context.note(f"{self._name}: the best of {len(rows)} evaluations by {by} has {best.value:.4g}")
        if context.costs:
            names = ", ".join(context.config.blackbox.objectives)
            context.note(f"{self._name}: {len(Front.of(rows).rows)} genotypes are on the front of {names}")
        if best.genome.others:
            context.note(f"{self._name}: it is {', '.join(map(str, best.genome.others.values()))}")
        return replace(best.genome, rule=f"{self._name} by {by}")

    def check(self, config: RunConfig) -> None:
        options = config.blackbox
        for name in options.costs:
            total_of(name)
        self.optimiser.check(options.evaluations, len(options.objectives))
        if self.optimiser.uses_fidelity and not self.evaluator.takes_fidelity:
            raise ConfigError(
                f"strategy {self._name} asks for shorter and longer trainings, which evaluator {self.evaluator.name} "
                "does not make; take --evaluator train"
            )
        if options.cache and self.training is not None:
            raise ConfigError(
                f"blackbox.cache does nothing with evaluator {self.evaluator.name}, whose values are those of weights "
                "that each search trains; leave it out, or take --evaluator train or a proxy"
            )
        if options.start:
            GenotypeTable.load(options.start)

    def _started(self, space: Space[Genotype], context: Context) -> Optimiser:
        """The optimiser, from the best genotypes of `blackbox.start` on, where that is given."""
        options = context.config.blackbox
        if not options.start:
            return self.optimiser
        ndims = {name: site.ndim for name, site in context.sites.items()}
        bound = (bound_to(genotype, ndims) for genotype in best_first(options.start))
        kept = [each for each in bound if each is not None and space.holds(each)][: options.started]
        if not kept:
            raise ConfigError(
                f"blackbox.start {options.start}: none of its genotypes can be evaluated here; give the evaluations "
                "of a search of the same model and space"
            )
        return Started(self.optimiser, tuple(kept))

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
    context: Context,
    evaluating: Evaluating,
    optimiser: Optimiser,
    limits: Limits | None = None,
    costs: Mapping[str, Limit] | None = None,
) -> list[Row[Genotype]]:
    """The rows of a search, continued from those of a killed run where this one is resumed.

    Args:
        limits: what a genotype may cost that is evaluated.
        costs: objectives beside what the evaluator says.
    """
    costs = costs or {}
    space, config = limited(evaluating.space(context.sites), limits), context.config
    generator = torch.Generator().manual_seed(derive_seed(config.seed, "blackbox"))

    def values(genotypes: Sequence[Genotype], fidelity: float = 1.0) -> list[tuple[float, ...]]:
        said = evaluating.values(genotypes) if fidelity == 1 else evaluating.values_at(genotypes, fidelity)
        said = broadcast_object_list(list(said))  # several processes take one's word
        totals = ([cost.total(genotype) for cost in costs.values()] for genotype in genotypes)
        return [(value, *total) for value, total in zip(said, totals, strict=True)]

    asking = optimiser.begin(space, generator)
    if costs:
        asking.priced(lambda genotype: [cost.total(genotype) for cost in costs.values()])
    rows = optimise(
        asking,
        values,
        config.blackbox.evaluations,
        maximise=evaluating.maximise,
        others=tuple(Objective(name, unit=cost.budget.cost.unit) for name, cost in costs.items()),
        history=context.history(space),
        together=config.blackbox.together,
        on_row=context.on_row,
    )
    if said := asking.remark():
        context.note(said)
    return rows
