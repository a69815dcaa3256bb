"""A run and its supernet go in; the genotype that a black-box strategy found, or mixtures set by a proxy, come out."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from accelerate.utils import broadcast_object_list
from torch import nn

from dashfx.blackbox.base import BlackBox, History, Row, best_of, optimise
from dashfx.blackbox.evolution import Evolution
from dashfx.blackbox.genomes import Space
from dashfx.blackbox.local import LocalSearch
from dashfx.blackbox.random import RandomSearch
from dashfx.config.run import BLACKBOX, BlackBoxConfig
from dashfx.genotype import Genotype
from dashfx.ops import sites_of
from dashfx.run.run import Run
from dashfx.stages.evaluators import BySupernet, Evaluator, load_evaluator
from dashfx.strategies.engine import Engine
from dashfx.strategies.warmstart import marginal_logits
from dashfx.train.fit import derive_seed


def best_genotype(run: Run, supernet: nn.Module, engine: Engine | None = None) -> Genotype:
    """The fittest of the genotypes that the run's strategy asked its evaluator about.

    Args:
        engine: of the trained supernet, for the evaluator "supernet".
    """
    options, name = run.config.blackbox, run.config.search.strategy
    evaluator = BySupernet(run, engine) if engine else load_evaluator(options.evaluator, run, supernet)
    best = best_of(evaluated(run, supernet, evaluator, name))
    run.note(f"{name}: the best of {options.evaluations} evaluations by {evaluator.name} has {best.value:.4g}")
    return Genotype(best.genome, f"{name} by {evaluator.name}")


def warm_start(run: Run, supernet: nn.Module) -> None:
    """Set the mixtures that training starts from by what a proxy says of random genotypes."""
    evaluator = load_evaluator(run.config.search.warm_start, run, supernet)
    rows = evaluated(run, supernet, evaluator, "random-search")
    for name, site in sites_of(supernet).items():
        with torch.no_grad():
            site.alpha.copy_(marginal_logits(rows, name, site.candidates))


def evaluated(run: Run, supernet: nn.Module, evaluator: Evaluator, strategy: str) -> list[Row[Genotype]]:
    """The rows of a search, continued from those in the run's folder where it is resumed."""
    sites, options = sites_of(supernet), run.config.blackbox
    space = evaluator.space(sites)
    generator = torch.Generator().manual_seed(derive_seed(run.config.seed, "blackbox"))
    history = History(run.folder.evaluations if run.folder else None, space, writes=run.is_main)
    run.accelerator.wait_for_everyone()  # nobody writes before all have read

    def values(genotypes: Sequence[Genotype]) -> list[float]:
        found = [evaluator.value(genotype) for genotype in genotypes]
        return list(broadcast_object_list(found))  # several processes take one's word

    def told(row: Row[Genotype]) -> None:
        run.evaluations.append(row)
        best = best_of(run.evaluations).value
        run.observer.evaluated("search", row.number + 1, options.evaluations, best)

    return optimise(
        make_strategy(strategy, space, generator, options),
        values,
        options.evaluations,
        maximise=evaluator.maximise,
        history=history,
        on_row=told,
    )


def make_strategy(
    name: str, space: Space[Genotype], generator: torch.Generator, options: BlackBoxConfig
) -> BlackBox[Genotype]:
    """A new strategy by its name in the configuration."""
    if name == "evolution":
        return Evolution(space, generator, options.population, options.tournament)
    return LocalSearch(space, generator) if name == "local" else RandomSearch(space, generator)


def check_evaluators(run: Run, supernet: nn.Module) -> None:
    """Whether the evaluators that the run names fit its model; before anything is written.

    Raises:
        DashfxError: a table of another model or space.
    """
    search, options = run.config.search, run.config.blackbox
    asked = [search.warm_start] if search.warm_start else []
    asked += [options.evaluator] if search.strategy in BLACKBOX else []
    for name in asked:
        if name != BySupernet.name:
            load_evaluator(name, run, supernet)
    if not asked:
        unasked = BlackBoxConfig()
        for name in ("evaluator", "evaluations"):
            if getattr(options, name) != getattr(unasked, name):
                run.note(f"blackbox.{name} does nothing with strategy {search.strategy}, which asks no evaluator")
