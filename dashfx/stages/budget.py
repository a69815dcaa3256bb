"""Budget of wall time: the epochs that fit, decided once, before the search; a run comes out with them in its options.

The proportions are those of the configuration: every stage gets the same share of the epochs that it was to have, more
or fewer, but at least one; a retraining that validation ends has at most so many. What an epoch takes is measured
before the search, on the first few steps of copies.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from torch import nn

from dashfx.config.files import seconds_of
from dashfx.config.run import RunConfig
from dashfx.config.search import FitConfig
from dashfx.errors import ConfigError
from dashfx.frontend.tracing import copy_model
from dashfx.genotype import Genotype
from dashfx.ops import sites_of
from dashfx.run.folder import write_text
from dashfx.run.run import Run
from dashfx.stages.costs.clock import CLOSING, RESERVE, Decision, decided, files_of, kept_back
from dashfx.stages.evaluators import specialised_by
from dashfx.stages.finalists import choice_ratio, epoch_ratio, longer_share, trainings, untouched_trainings
from dashfx.stages.retrain import epochs_of
from dashfx.stages.rewrite import take_algorithms
from dashfx.stages.search import proposed
from dashfx.stages.tune import trial_epochs
from dashfx.strategies.rules import RandomChoice
from dashfx.train.fit import Learner, Supervised, fit
from dashfx.train.processes import first_does
from dashfx.train.progress import Epoch, Observer

STEPS, EPOCHS = 6, 3  # of a measurement, whose first epoch is not counted
VALID = 2  # batches that are validated in it
MEASURING = 0.1  # of the budget: for all measurements, unless single steps take longer


@dataclass(frozen=True)
class StageCost:
    """What a stage costs: seconds an epoch, and the epochs that the configuration gives it."""

    seconds: float
    epochs: int


def budgeted(run: Run, supernet: nn.Module | None, genotype: Genotype | None = None) -> Run:
    """The run with the epochs that its budget allows, or that were decided before it was interrupted.

    Args:
        supernet: what is searched; None where only a retraining follows.
        genotype: of that retraining.

    Raises:
        ConfigError: not even one epoch of each stage fits.
    """
    if not run.config.budget:
        return run
    with run.stage("budget", run.config.budget):
        decision = decided(run.session.folder)
        if decision is None:
            decision = _decided_for_all(run, supernet, genotype)
            if folder := run.session.writes:
                write_text(folder.budget, json.dumps(asdict(decision), indent=2) + "\n")
        run.session.wait()
        run.note(decision.said(run.config))
    return run.with_config(decision.applied(run.config))


def _decided_for_all(run: Run, supernet: nn.Module | None, genotype: Genotype | None) -> Decision:
    """The first process's decision, or its refusal, in every process; a refused run leaves no folder behind.

    Raises:
        ConfigError: as `decide`.
    """
    try:
        stages = measured(run, supernet, genotype)
        return first_does(run.session.accelerator, lambda: decide(run.config, stages, run.session.elapsed))
    except ConfigError:
        run.session.abandon()
        raise


def decide(config: RunConfig, stages: Mapping[str, StageCost], spent: float) -> Decision:
    """The epochs of each stage.

    Raises:
        ConfigError: a budget that is too small, with the smallest that works.
    """
    budget = seconds_of(config.budget or "")
    fixed = spent + (60 * config.tune.minutes if config.tune.wanted and "tune" not in stages else 0.0)
    needed = fixed + sum(stage.seconds for stage in stages.values())
    files = files_of(config)
    least = max(needed / (1 - RESERVE), needed + files * CLOSING)
    if budget < least:
        raise ConfigError(
            f"--budget {config.budget}: one epoch of each stage ({', '.join(stages)}) does not fit, so that not "
            f"one finalist is trained: {spent:.0f} s are spent already and {kept_back(budget, files):.0f} s kept back "
            "for the export; "
            f"the smallest that works here is {np.ceil(1.1 * least):.0f}s"
        )
    epochs = divided(budget - kept_back(budget, files) - fixed, stages)
    return Decision(budget, spent, {name: stage.seconds for name, stage in stages.items()}, epochs)


def divided(seconds: float, stages: Mapping[str, StageCost]) -> dict[str, int]:
    """Epochs in proportion to those configured, at least one each, that take no more than `seconds` together.

    >>> divided(100, {"search": StageCost(2.0, 10), "retrain": StageCost(1.0, 30)})
    {'search': 20, 'retrain': 60}
    >>> divided(14, {"search": StageCost(4.0, 1), "retrain": StageCost(1.0, 100)})
    {'search': 1, 'retrain': 10}
    """
    single: set[str] = set()
    while True:
        shared = {name: stage for name, stage in stages.items() if name not in single}
        left = seconds - sum(stages[name].seconds for name in single)
        share = left / sum(stage.seconds * stage.epochs for stage in shared.values()) if shared else 0.0
        short = {name for name, stage in shared.items() if share * stage.epochs < 1}
        if not short:
            return {name: 1 if name in single else int(share * stage.epochs + 1e-9) for name, stage in stages.items()}
        single |= short


def measured(run: Run, supernet: nn.Module | None, genotype: Genotype | None) -> dict[str, StageCost]:
    """What an epoch of each stage takes: of the search, of all trials together, of retraining with its controls.

    All of it together takes about `MEASURING` of the budget.

    Raises:
        ConfigError: the stages measured first do not fit, whatever the others take.
    """
    config, task, accelerator = run.config, run.inputs.task, run.session.accelerator
    limit = MEASURING * seconds_of(config.budget or "1h") / 4  # algorithms, search, searched and untouched model
    stages: dict[str, StageCost] = {}
    if supernet is not None and (training := run.strategy.training) is not None:
        copied = copy_model(supernet)
        take_algorithms(run, copied, limit)

        def engine(size: Mapping[str, Any]) -> Learner:
            return training.engine(copied, task, config.search.model_copy(update=size), accelerator)

        seconds = config.search.seeds * epoch_seconds(run, engine, config.search, limit)
        stages["search"] = StageCost(seconds, config.search.epochs)
        _check_bound(run, stages)
    if genotype is None and supernet is not None:
        genotype = RandomChoice(config.seed).select(sites_of(supernet))  # as large as what will be chosen, on average
    wide = run.inputs.for_retraining()

    def retrained(choice: Genotype | None) -> float:
        def supervised(size: Mapping[str, Any]) -> Learner:
            model = specialised_by(wide, choice, "budget") if choice else wide.start_model()
            return Supervised(model, task, config.retrain.model_copy(update=size), accelerator)

        return epoch_seconds(run, supervised, config.retrain, limit)

    seconds = retrained(genotype)
    if config.tune.trials:
        share = (config.tune.fraction or config.retrain.fraction) / config.retrain.fraction
        epochs = trial_epochs(config.tune, epochs_of(run))
        stages["tune"] = StageCost(config.tune.trials * share * seconds, epochs)
    together, bounds = (config.finalists.trainings + config.finalists.refit) * seconds, epochs_of(run)
    if supernet is not None:  # the searched ones, by the tuned recipe and the plain one, and their controls
        proposals, ratios = proposed(run), (epoch_ratio(run, supernet), choice_ratio(run, supernet))
        together = trainings(config, bounds, proposals) * seconds
        untouched, plain = untouched_trainings(config, bounds, proposals, *ratios), 0.0
        if config.control:
            plain = retrained(None)
            together += untouched * plain
        # Distilling also asks every member: a forward pass of each, about a third of a step.
        asked = config.ensemble.distil * (1 + config.ensemble.wanted / 3)
        last = max(seconds, longer_share(config, bounds, proposals, *ratios) * plain)  # the kept one may be the longer
        together += (asked + config.finalists.refit) * last
    stages["retrain"] = StageCost(together, bounds.usual)
    return stages


def _check_bound(run: Run, stages: Mapping[str, StageCost]) -> None:
    """Whether one epoch of the stages measured so far leaves anything of the budget.

    Raises:
        ConfigError: it does not.
    """

    def check() -> None:
        budget, spent = seconds_of(run.config.budget or "1h"), run.session.elapsed
        least = spent + sum(stage.seconds for stage in stages.values())
        if run.config.budget and least > budget - kept_back(budget, files_of(run.config)):
            raise ConfigError(
                f"--budget {run.config.budget}: one epoch of each stage does not fit: one of {', '.join(stages)} takes "
                f"{least - spent:.0f} s, and {spent:.0f} s are spent; give at least {np.ceil(2 * least):.0f}s, fewer "
                "rows (--limit) or a smaller space"
            )

    first_does(run.session.accelerator, check)


def epoch_seconds(
    run: Run, make: Callable[[Mapping[str, Any]], Learner], options: FitConfig, limit: float = math.inf
) -> float:
    """What an epoch with its validation takes, from a step or a few and a few batches.

    Args:
        make: a learner with other epochs and another share of the data.
        limit: seconds after a first step, which is needed at least.
    """
    warm = _timed(run, make, options, 1)
    affordable = first_does(run.session.accelerator, lambda: int(limit / max(warm.step, 1e-6) / EPOCHS))
    steps = min(STEPS, affordable)
    return (_timed(run, make, options, steps) if steps > 1 else warm).whole


@dataclass(frozen=True)
class _Times:
    """Seconds of one training step, and of the whole epoch that it stands for."""

    step: float
    whole: float


def _timed(run: Run, make: Callable[[Mapping[str, Any]], Learner], options: FitConfig, steps: int) -> _Times:
    """An epoch by so many of its steps; of several steps the first epoch, which warms up, is not counted."""
    data, session = run.inputs.data, run.session
    together = options.batch_size * session.accelerator.num_processes
    rows, epochs = len(data.train), EPOCHS if steps > 1 else 1
    few = replace(data, valid=data.valid.subset(np.arange(min(len(data.valid), VALID * together))))
    size = {"epochs": epochs, "fraction": min(options.fraction, steps * together / rows)}
    learner, clock = make(size), _Clock()
    history = fit(
        learner, few, stage="budget", seed=run.config.seed, folder=session.checkpoints, observer=clock
    ).history
    if session.writes:
        (session.writes.checkpoints / "budget-last.pt").unlink()
    taken, whole = (max(1, int(share * rows) // together) for share in (size["fraction"], options.fraction))
    counted = list(zip(history, clock.times, clock.times[1:], strict=False))[epochs > 1 :]
    training, checking, saving = 0.0, 0.0, 0.0  # mean seconds of an epoch's parts
    for epoch, before, after in counted:
        training += 1 / epoch.steps_per_second / len(counted)
        checking += max(0.0, epoch.seconds - taken / epoch.steps_per_second) / len(counted)
        saving += max(0.0, after - before - epoch.seconds) / len(counted)  # checkpoints: most of a small net's time
    return _Times(training, whole * training + checking * len(data.valid) / len(few.valid) + saving)


class _Clock(Observer):
    """When training began, and when each epoch was over, its checkpoint included."""

    def __init__(self) -> None:
        self.times: list[float] = [time.perf_counter()]

    def epoch(self, facts: Epoch) -> None:
        self.times.append(time.perf_counter())
