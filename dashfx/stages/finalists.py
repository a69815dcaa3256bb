"""Finalists: every model that may be handed back is trained by its recipe, and the best on validation is kept.

The untouched model is one of them, so that a run is never worse by its validation part; where retraining was tuned,
the options as they were are another recipe of the searched one: a few short trials hardly tell recipes apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from accelerate.utils import convert_to_fp32
from torch import Tensor, nn

from dashfx.config.run import RunConfig
from dashfx.cost.latency import compare
from dashfx.errors import DivergedError
from dashfx.genotype import Genotype
from dashfx.ops import sites_of
from dashfx.plugins import find
from dashfx.run.folder import write_text
from dashfx.run.result import RANDOM, SEARCHED, UNTOUCHED, Standing
from dashfx.run.run import Run
from dashfx.site import Site
from dashfx.stages.evaluators import specialised_by
from dashfx.stages.retrain import lowered, plan, retrain
from dashfx.strategies.one_by_one import STAGE as ONE_BY_ONE
from dashfx.strategies.rules import RandomChoice
from dashfx.task import output_errors, scores_by_class
from dashfx.train.fit import metric_over
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


def planned_epochs(config: RunConfig) -> dict[str, float]:
    """The epochs of each stage that trains, as the options have them; a trial's count by its share of the data."""
    epochs: dict[str, float] = {"search": config.search.epochs} if config.trains_supernet else {}
    if config.tune.trials:
        share = (config.tune.fraction or config.retrain.fraction) / config.retrain.fraction
        epochs["tune"] = config.tune.trials * share * (config.tune.epochs or 0.4 * config.retrain.epochs)
    stages = [RETRAIN]
    stages += [PLAIN] if config.tune.wanted and config.tune.finalist else []
    if not config.search.is_control:
        stages += [CONTROL] if config.control else []
        stages += [RANDOM] if config.random_control else []
    return {**epochs, **dict.fromkeys(stages, config.retrain.epochs)}


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


def train_finalists(
    run: Run, finalists: Sequence[Finalist], start: Start, before: Sequence[Trained] = ()
) -> list[Trained]:
    """Those of `before` and each of `finalists`, one after the other; one that diverges has lost.

    Raises:
        DivergedError: all of them have diverged.
    """
    trained = list(before)
    for finalist in finalists:
        by_recipe = run.with_config(finalist.recipe)
        model = start(by_recipe, finalist)
        try:
            with run.stage(finalist.stage, plan(finalist.plan, finalist.recipe.retrain.epochs)):
                trained.append(Trained(finalist, *retrain(by_recipe.for_retraining(), model, finalist.stage)))
        except DivergedError:
            if finalist is finalists[-1] and all(each.model is None for each in trained):
                raise
            run.note(f"{finalist.stage}: the {finalist.name} model's training diverges, so it is out")
            trained.append(Trained(finalist, None, float("nan")))
    return trained


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


def standings(run: Run, trained: Sequence[Trained], measured: Sequence[Trained], kept: Trained) -> list[Standing]:
    """How each finalist did; those of `measured` once on the test part, on which nothing is chosen, and their cost."""
    models = {each.finalist.origin: each.model for each in measured if each.model is not None}
    with run.stage("compare", f"{len(models)} models"):
        metrics = {
            each.finalist.origin: (each.valid, metric_of(run, each.model, "test"))
            for each in measured
            if each.model is not None
        }
        timed = run.session.writes is not None
        figures = compare(models, metrics, run.inputs.example[:1], timed=timed)
    search = steps_of(run, "search", ONE_BY_ONE)
    return [
        Standing(
            each.finalist.name,
            each.finalist.origin,
            each.finalist.genotype,
            each.finalist.stage,
            each.valid,
            steps_of(run, each.finalist.stage),
            search if each.finalist.origin == SEARCHED else 0,
            figures[each.finalist.origin] if each in measured and each.model is not None else None,
            each is kept,
        )
        for each in trained
    ]


def steps_of(run: Run, *stages: str) -> int:
    return sum(epoch.steps for epoch in run.ledger.history if epoch.stage in stages)


def metric_of(run: Run, plain: nn.Module, part: str) -> float:
    """The metric of a plain model over a part of the data; the model ends on the CPU, in eval mode."""
    inputs, accelerator = run.inputs, run.session.accelerator
    loader = inputs.data.loader(part, 4 * inputs.config.retrain.batch_size)
    with answering(run, plain) as predict:
        return metric_over(predict, loader, inputs.task, accelerator)


@contextmanager
def answering(run: Run, plain: nn.Module) -> Iterator[Callable[[Tensor], Tensor]]:
    """Inside, the model answers on the run's device, in eval mode, as the fit loop's models do; it ends on the CPU."""
    accelerator = run.session.accelerator
    plain.to(accelerator.device).eval()

    def predict(x: Tensor) -> Tensor:
        with torch.no_grad(), accelerator.autocast():
            output = plain(x.to(accelerator.device))
        return convert_to_fp32(output)

    yield predict
    plain.cpu()


def details(run: Run, plain: nn.Module) -> dict[str, Any]:
    """How a model does on each class, or with each output, of the test part: `classes` and `outputs` of a Result."""
    task, data = run.inputs.task, run.inputs.data
    loader = data.loader("test", 4 * run.config.retrain.batch_size)
    with answering(run, plain) as predict:
        return {
            "classes": scores_by_class(predict, loader, task, data),
            "outputs": output_errors(predict, loader, task, data),
        }
