"""The search stage: a run and its supernet go in; one candidate per site comes out, by whichever strategy."""

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
from dashfx.config.run import BLACKBOX, CONTROLS, BlackBoxConfig, RunConfig
from dashfx.genotype import Genotype
from dashfx.ops import drop_residuals, sites_of
from dashfx.run.run import Run
from dashfx.stages.evaluators import BySupernet, Evaluator, load_evaluator
from dashfx.stages.retrain import fit_stage, plan
from dashfx.stages.rewrite import favour_original, take_algorithms
from dashfx.strategies.engine import Engine
from dashfx.strategies.one_by_one import STAGE, OneByOne, undecided
from dashfx.strategies.rules import RandomChoice, load_rule
from dashfx.strategies.updates import STRATEGIES
from dashfx.strategies.warmstart import marginal_logits
from dashfx.train.fit import derive_seed


def searched(run: Run, supernet: nn.Module) -> Genotype:
    """The search's choice: one candidate per site."""
    with run.stage("search", _plan(run.config)):
        genotype = choose(run, supernet)
    if run.config.search.strategy == "dash" and run.config.search.discretise == "one-by-one":
        with run.stage(STAGE, f"one of {len(genotype)} sites at a time"):
            genotype = one_by_one(run, supernet)
    return run.session.agree(genotype)


def choose(run: Run, supernet: nn.Module) -> Genotype:
    """One candidate per site: by training the mixtures, by evaluating genotypes, or by one of the controls."""
    config, sites = run.config.search, sites_of(supernet)
    if config.strategy == "random":
        return RandomChoice(run.config.seed).select(sites)
    if config.strategy == "untouched":
        return Genotype({name: site.original for name, site in sites.items()}, "untouched")
    if not run.config.trains_supernet:
        return best_genotype(run, supernet)
    if config.warm_start:
        warm_start(run, supernet)
    elif config.init == "grow" and config.strategy == "dash":
        favour_original(supernet, config.lead)
    engine = train_mixtures(run, supernet)
    if config.strategy != "dash":
        return best_genotype(run, supernet, engine)
    return load_rule(config.rule).select(sites)


def train_mixtures(run: Run, supernet: nn.Module) -> Engine:
    """Weights and architecture parameters of the supernet, trained together."""
    config = run.config.search
    engine = Engine(supernet, run.inputs.task, config, run.session.accelerator, STRATEGIES[config.alpha_on])
    take_algorithms(run, supernet)
    fitted = fit_stage(run, engine, "search")
    if fitted.stopped:
        run.note(f"search stopped after epoch {len(fitted.history)}: {fitted.stopped}")
    drop_residuals(supernet)  # they have faded to nothing and are part of no candidate
    return engine


def one_by_one(run: Run, supernet: nn.Module) -> Genotype:
    """One candidate per site, decided one after the other while the search goes on."""
    config = run.config.search
    rule = load_rule(config.rule)
    if undecided(sites_of(supernet)):
        strategy = STRATEGIES[config.alpha_on]
        engine = OneByOne(supernet, run.inputs.task, config, run.session.accelerator, strategy, rule)
        fit_stage(run, engine, STAGE)
    return rule.select(sites_of(supernet))


def _plan(config: RunConfig) -> str:
    if config.trains_supernet:
        return plan(config.search.strategy, config.search.epochs)
    if config.search.strategy in CONTROLS:
        return config.search.strategy
    return f"{config.search.strategy} by {config.blackbox.evaluator}, {config.blackbox.evaluations} evaluations"


def best_genotype(run: Run, supernet: nn.Module, engine: Engine | None = None) -> Genotype:
    """The fittest of the genotypes that the run's strategy asked its evaluator about.

    Args:
        engine: of the trained supernet, for the evaluator "supernet".
    """
    options, name = run.config.blackbox, run.config.search.strategy
    evaluator = BySupernet(run.inputs, engine) if engine else load_evaluator(options.evaluator, run, supernet)
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
    session = run.session
    history = History(session.folder.evaluations if session.folder else None, space, writes=session.is_main)
    session.wait()  # nobody writes before all have read

    def values(genotypes: Sequence[Genotype]) -> list[float]:
        found = [evaluator.value(genotype) for genotype in genotypes]
        return list(broadcast_object_list(found))  # several processes take one's word

    def on_row(row: Row[Genotype]) -> None:
        run.ledger.evaluations.append(row)
        best = best_of(run.ledger.evaluations).value
        session.observer.evaluated("search", row.number + 1, options.evaluations, best)

    return optimise(
        make_strategy(strategy, space, generator, options),
        values,
        options.evaluations,
        maximise=evaluator.maximise,
        history=history,
        on_row=on_row,
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
