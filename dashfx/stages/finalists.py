"""Finalists: every model that may be handed back is trained by its recipe, and the best on validation is kept.

The untouched model is one of them, so that a run is never worse by its validation part; where retraining was tuned,
the options as they were are another recipe of the searched one: a few short trials hardly tell recipes apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from torch import nn

from dashfx.config.run import RunConfig
from dashfx.errors import DivergedError
from dashfx.frontend.tracing import Program
from dashfx.genotype import Genotype
from dashfx.ops import sites_of
from dashfx.plugins import find
from dashfx.run.folder import write_text
from dashfx.run.result import RANDOM, UNTOUCHED
from dashfx.run.run import Run
from dashfx.site import Site
from dashfx.stages.evaluators import specialised_by
from dashfx.stages.jobs.finalists import Training, trained_by_workers
from dashfx.stages.retrain import lowered, plan, retrain
from dashfx.stages.rewrite import retrained_sites
from dashfx.strategies.rules import RandomChoice
from dashfx.train.length import Bounds
from dashfx.tune import Tuned, is_plain, with_values

RETRAIN, PLAIN, CONTROL = "retrain", "retrain-plain", "control"  # stages, one a finalist, as the log names them


@dataclass(frozen=True)
class Finalist:
    """A model that may be handed back: a genotype, a recipe and an origin.

    Attributes:
        recipe: the options that it is trained by.
        stage: the stage that trains it, `plan` what that says of itself.
        only_compared: whether it is trained for comparison, and never handed back.
    """

    name: str
    origin: str
    genotype: Genotype
    recipe: RunConfig
    stage: str
    plan: str
    only_compared: bool = False


@dataclass(frozen=True)
class Trained:
    """A finalist after its training: its model and the metric on validation; None and NaN where training diverged."""

    finalist: Finalist
    model: nn.Module | None
    valid: float


@dataclass(frozen=True)
class Decision:
    """Which finalist is kept on validation, and beside which others.

    Attributes:
        run: with the recipe that won, and the model that it retrains.
        trained: all finalists, in the order of their trainings.
        searched: the searched model by the better recipe.
        kept: the one that is handed back: `searched`, or the untouched model.
        sites: as they are in the model that is retrained.
        tuned: what tuning found, with how its recipe did in full.
    """

    run: Run
    trained: tuple[Trained, ...]
    searched: Trained
    kept: Trained
    sites: Mapping[str, Site]
    tuned: Tuned | None

    @property
    def compared(self) -> list[Trained]:
        """The searched model and its controls, without recipes that lost and what diverged."""
        first = [
            self.searched,
            *(each for each in self.trained if each.finalist.origin != self.searched.finalist.origin),
        ]
        return [each for each in first if each.model is not None]


Start = Callable[[Run, Finalist], nn.Module]  # the model whose weights a finalist's training starts from


def recipes(run: Run, supernet: nn.Module, genotype: Genotype, tuned: Tuned | None) -> list[Finalist]:
    """The searched model by the options as they are, or by those that tuning found and, where they differ, by both."""
    origin = run.strategy.origin
    weights = f"{run.config.retrain.weights} weights"
    if tuned is None:
        return [Finalist(origin, origin, genotype, run.config, RETRAIN, weights)]
    recipe = with_values(run.config, tuned.values)
    read = by_rule_of(recipe, run, supernet, genotype)
    weights_then = f"{recipe.retrain.weights} weights"
    if not run.config.tune.finalist or is_plain(tuned.values, run.config, run.inputs.for_retraining().fresh_model()):
        return [Finalist(origin, origin, read, recipe, RETRAIN, weights_then)]
    plain = Finalist("plain", origin, genotype, run.config, PLAIN, f"{weights}, the recipe as it was")
    return [Finalist("tuned", origin, read, recipe, RETRAIN, weights_then), plain]


def planned_epochs(config: RunConfig, retraining: Bounds) -> dict[str, float]:
    """The epochs of each stage that trains, at most; a trial's count by its share of the data."""
    epochs: dict[str, float] = {"search": config.search.epochs} if config.trains_supernet else {}
    if config.tune.trials:
        share = (config.tune.fraction or config.retrain.fraction) / config.retrain.fraction
        epochs["tune"] = config.tune.trials * share * (config.tune.epochs or 0.4 * retraining.usual)
    stages = [RETRAIN]
    stages += [PLAIN] if config.tune.wanted and config.tune.finalist else []
    if not config.search.is_control:
        stages += [CONTROL] if config.control else []
        stages += [RANDOM] if config.random_control else []
    return {**epochs, **dict.fromkeys(stages, retraining.most)}


def by_rule_of(recipe: RunConfig, run: Run, supernet: nn.Module, genotype: Genotype) -> Genotype:
    """What the run has chosen, or what another rule reads from the same mixtures."""
    rule = recipe.search.rule
    return genotype if rule == run.config.search.rule else find("rule", rule).within(sites_of(supernet), run.limits)


def controls(run: Run, sites: Mapping[str, Site], genotype: Genotype, chance: Genotype | None) -> list[Finalist]:
    """What the searched model is compared with, by its recipe: the untouched model, and on request a random choice."""
    if run.strategy.is_control:
        return []
    found, own = [], Genotype({name: sites[name].original for name in genotype}, UNTOUCHED)
    if run.config.control:
        found.append(Finalist(UNTOUCHED, UNTOUCHED, own, run.config, CONTROL, "the untouched model"))
    if chance is not None:
        plan = "a random choice per site"
        found.append(Finalist(RANDOM, RANDOM, chance, run.config, RANDOM, plan, only_compared=True))
    return found


def chance_of(run: Run, supernet: nn.Module) -> Genotype | None:
    """What chance chooses among the same candidates, drawn before any of them leaves; None unless asked for."""
    if not run.config.random_control or run.strategy.is_control:
        return None
    return RandomChoice(run.config.seed).within(sites_of(supernet), run.limits)


def start_from(supernet: nn.Module) -> Start:
    """Where finalists start: the searched one from the supernet, the user's model as it is, chance from its kernels."""

    def start(run: Run, finalist: Finalist) -> nn.Module:
        if finalist.origin == RANDOM and finalist.only_compared:
            return specialised_by(run.inputs, finalist.genotype, RANDOM)
        if finalist.stage == CONTROL:
            return run.inputs.start_model()
        return lowered(run, supernet, finalist.genotype)

    return start


def decided(
    run: Run,
    finalists: Sequence[Finalist],
    start: Start,
    program: Program,
    tuned: Tuned | None = None,
    chance: Genotype | None = None,
    alone: bool = False,
) -> Decision:
    """Train the searched model by its recipes, then its controls by the one that won, and keep the best on validation.

    Args:
        finalists: the searched model, by one recipe or by two.
        alone: it is compared with no control.
    """
    trained = train_finalists(run, finalists, start)
    best, tuned = decide_recipe(run, trained, tuned)
    run = run.with_config(best.finalist.recipe).for_retraining()
    sites, genotype = retrained_sites(run, program), best.finalist.genotype
    rivals = train_finalists(run, [] if alone else controls(run, sites, genotype, chance), start, before=[best])
    kept = best_of(run, rivals)
    if folder := run.session.writes:
        if tuned or run.config.budget:
            write_text(folder.retrained, run.config.to_yaml())
        if kept is not best:
            write_text(folder.searched, genotype.to_json())
    return Decision(run, (*trained, *rivals[1:]), best, kept, sites, tuned)


def train_finalists(
    run: Run, finalists: Sequence[Finalist], start: Start, before: Sequence[Trained] = ()
) -> list[Trained]:
    """Those of `before` and each of `finalists`, one after the other; one that diverges has lost.

    Raises:
        DivergedError: all of them have diverged.
    """
    trained = list(before)
    run = trained_by_workers(run, [_training(run, finalist, start) for finalist in finalists])
    for finalist in finalists:
        by_recipe = run.with_config(finalist.recipe)
        model = start(by_recipe, finalist)
        try:
            with run.stage(finalist.stage, plan(finalist.plan, by_recipe)):
                done = retrain(by_recipe.for_retraining(), model, finalist.stage)
            trained.append(Trained(finalist, done.model, done.valid))
        except DivergedError:
            if finalist is finalists[-1] and all(each.model is None for each in trained):
                raise
            run.note(f"{finalist.stage}: the {finalist.name} model's training diverges, so it is out")
            trained.append(Trained(finalist, None, float("nan")))
    return trained


def _training(run: Run, finalist: Finalist, start: Start) -> Training:
    """What a worker needs to know of it."""
    genotype = None if finalist.stage == CONTROL or run.config.search.kind == "untouched" else finalist.genotype
    begin = partial(start, run.with_config(finalist.recipe).silent(), finalist)
    return Training(finalist.stage, finalist.recipe, genotype, begin)


def best_of(run: Run, trained: Sequence[Trained]) -> Trained:
    """The best on validation; of equals the last, as the lists begin with what needs the most explanation.

    What a budget does not allow is handed back only where no rival holds all budgets.
    """
    rivals = [each for each in trained if each.model is not None and not each.finalist.only_compared]
    rivals = _within_budgets(run, rivals)
    best = rivals[-1]
    for each in reversed(rivals[:-1]):
        best = each if run.inputs.task.better(each.valid, best.valid) else best
    return best


def _within_budgets(run: Run, rivals: list[Trained]) -> list[Trained]:
    """Those whose genotype holds all budgets; all of them where none does."""
    held = [run.limits is None or run.limits.hold(each.finalist.genotype) for each in rivals]
    if all(held) or not any(held):
        return rivals
    for each in [each for each, holds in zip(rivals, held, strict=True) if not holds]:
        run.note(f"the {each.finalist.name} model costs more than {run.limits} allows, so it is only compared")
    return [each for each, holds in zip(rivals, held, strict=True) if holds]


def decide_recipe(run: Run, trained: Sequence[Trained], tuned: Tuned | None) -> tuple[Trained, Tuned | None]:
    """The searched model by the better recipe; its choices and what tuning came to stand in the run's folder."""
    best = best_of(run, trained)
    if tuned is None:
        return best, None
    if len(trained) == 2:
        by_tuned, by_plain = (each.valid for each in trained)
        kept = "plain" if best is trained[1] else "tuned"
        tuned = replace(tuned, finals={"tuned": by_tuned, "plain": by_plain, "kept": kept})
        run.note(f"finalists, retrained in full: {tuned.finals_text}")
    if folder := run.session.writes:
        write_text(folder.tuned, tuned.to_json())
        write_text(folder.genotype, best.finalist.genotype.to_json())
    return best, tuned
