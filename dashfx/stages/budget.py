"""Budget of wall time: the epochs that fit, decided once, before the search; a run comes out with them in its options.

The proportions are those of the configuration: every stage gets the same share of the epochs that it was to have, more
or fewer, but at least one. What an epoch takes is measured before the search, on the first few steps of copies.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from accelerate.utils import broadcast_object_list
from torch import nn

from dashfx.config.files import seconds_of
from dashfx.config.run import FitConfig, RunConfig
from dashfx.errors import ConfigError
from dashfx.frontend.tracing import copy_model
from dashfx.genotype import Genotype
from dashfx.ops import sites_of
from dashfx.run.folder import RunFolder, write_text
from dashfx.run.run import Run
from dashfx.stages.evaluators import specialised_by
from dashfx.stages.rewrite import take_algorithms
from dashfx.stages.tune import trial_epochs
from dashfx.strategies.rules import RandomChoice
from dashfx.train.fit import Learner, Supervised, fit
from dashfx.train.progress import Epoch, Observer

RESERVE = 0.1  # of the budget: for the export, and for epochs that turn out slower than those measured
CLOSING = 10.0  # seconds, the least that is kept back: comparing, export and report of a small net on a slow core
STEPS, EPOCHS = 6, 3  # of a measurement, whose first epoch is not counted


@dataclass(frozen=True)
class StageCost:
    """What a stage costs: seconds an epoch, and the epochs that the configuration gives it."""

    seconds: float
    epochs: int


@dataclass(frozen=True)
class Decision:
    """What `budget.json` holds.

    Attributes:
        budget, spent: seconds in all, and before the decision.
        measured: stage -> seconds of one of its epochs, all models that it trains together.
        epochs: stage -> how many it has.
    """

    budget: float
    spent: float
    measured: Mapping[str, float]
    epochs: Mapping[str, int]

    def __str__(self) -> str:
        parts = (f"{name} {n} epochs of {self.measured[name]:.3g} s" for name, n in self.epochs.items())
        return f"budget of {self.budget:.0f} s, {self.spent:.0f} s of it spent: {', '.join(parts)}"

    def applied(self, config: RunConfig) -> RunConfig:
        """The options with the epochs that were decided."""
        blocks = {name: getattr(config, name).model_copy(update={"epochs": n}) for name, n in self.epochs.items()}
        return config.model_copy(update=blocks)


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
            decision = _decided_for_all(run, measured(run, supernet, genotype))
            if folder := run.session.writes:
                write_text(folder.budget, json.dumps(asdict(decision), indent=2) + "\n")
        run.session.wait()
        run.note(str(decision))
    return run.with_config(decision.applied(run.config))


def _decided_for_all(run: Run, stages: Mapping[str, StageCost]) -> Decision:
    """The first process's decision, or its refusal, in every process; a refused run leaves no folder behind.

    Raises:
        ConfigError: as `decide`.
    """
    found: list[Decision | ConfigError]
    try:
        found = [decide(run.config, stages, run.session.elapsed)]
    except ConfigError as error:
        found = [error]
    (first,) = broadcast_object_list(found)
    if isinstance(first, ConfigError):
        run.session.abandon()
        raise first
    decision: Decision = first
    return decision


def decided(folder: RunFolder | None) -> Decision | None:
    """What stands in a run's folder; None where nothing was decided."""
    if folder is None or not folder.budget.is_file():
        return None
    return Decision(**json.loads(folder.budget.read_text(encoding="utf-8")))


def decide(config: RunConfig, stages: Mapping[str, StageCost], spent: float) -> Decision:
    """The epochs of each stage.

    Raises:
        ConfigError: a budget that is too small, with the smallest that works.
    """
    budget = seconds_of(config.budget or "")
    fixed = spent + (60 * config.tune.minutes if config.tune.wanted and "tune" not in stages else 0.0)
    needed = fixed + sum(stage.seconds for stage in stages.values())
    least = max(needed / (1 - RESERVE), needed + CLOSING)
    if budget < least:
        raise ConfigError(
            f"--budget {config.budget}: one epoch of each stage ({', '.join(stages)}) does not fit, with {spent:.0f} s "
            f"spent already and {kept_back(budget):.0f} s kept back for the export; "
            f"the smallest that works here is {np.ceil(1.1 * least):.0f}s"
        )
    epochs = divided(budget - kept_back(budget) - fixed, stages)
    return Decision(budget, spent, {name: stage.seconds for name, stage in stages.items()}, epochs)


def kept_back(budget: float) -> float:
    """The seconds of a budget that no epoch gets."""
    return max(RESERVE * budget, CLOSING)


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
    """What an epoch of each stage takes: of the search, of all trials together, of retraining with its controls."""
    config, task, accelerator = run.config, run.inputs.task, run.session.accelerator
    stages = {}
    if supernet is not None and (training := run.strategy.training) is not None:
        copied = copy_model(supernet)
        take_algorithms(run, copied)

        def engine(size: Mapping[str, Any]) -> Learner:
            return training.engine(copied, task, config.search.model_copy(update=size), accelerator)

        stages["search"] = StageCost(epoch_seconds(run, engine, config.search), config.search.epochs)
    if genotype is None and supernet is not None:
        genotype = RandomChoice(config.seed).select(sites_of(supernet))  # as large as what will be chosen, on average
    wide = run.inputs.for_retraining()

    def supervised(size: Mapping[str, Any]) -> Learner:
        model = specialised_by(wide, genotype, "budget") if genotype else wide.start_model()
        return Supervised(model, task, config.retrain.model_copy(update=size), accelerator)

    seconds = epoch_seconds(run, supervised, config.retrain)
    if config.tune.trials:
        share = (config.tune.fraction or config.retrain.fraction) / config.retrain.fraction
        epochs = trial_epochs(config.tune, config.retrain.epochs)
        stages["tune"] = StageCost(config.tune.trials * share * seconds, epochs)
    models = 1
    if supernet is not None:  # the searched one, by the tuned recipe and the plain one, and its controls
        models += (config.tune.wanted and config.tune.finalist) + config.control + config.random_control
    stages["retrain"] = StageCost(models * seconds, config.retrain.epochs)
    return stages


def epoch_seconds(run: Run, make: Callable[[Mapping[str, Any]], Learner], options: FitConfig) -> float:
    """What an epoch with its validation takes, from a few steps and a few batches.

    Args:
        make: a learner with other epochs and another share of the data.
    """
    data, session = run.inputs.data, run.session
    together = options.batch_size * session.accelerator.num_processes
    rows = len(data.train)
    few = replace(data, valid=data.valid.subset(np.arange(min(len(data.valid), 8 * together))))
    size = {"epochs": EPOCHS, "fraction": min(options.fraction, STEPS * together / rows)}
    clock = _Clock()
    epochs = fit(
        make(size), few, stage="budget", seed=run.config.seed, folder=session.checkpoints, observer=clock
    ).history
    if session.writes:
        (session.writes.checkpoints / "budget-last.pt").unlink()
    taken, steps = (max(1, int(share * rows) // together) for share in (size["fraction"], options.fraction))
    training, checking, saving = 0.0, 0.0, 0.0  # mean seconds of an epoch's parts
    for epoch, before, after in zip(epochs[1:], clock.times, clock.times[1:], strict=False):
        training += steps / epoch.steps_per_second / (EPOCHS - 1)
        checking += max(0.0, epoch.seconds - taken / epoch.steps_per_second) / (EPOCHS - 1)
        saving += max(0.0, after - before - epoch.seconds) / (EPOCHS - 1)  # checkpoints: most of a small net's time
    return training + checking * len(data.valid) / len(few.valid) + saving


class _Clock(Observer):
    """When each epoch was over, its checkpoint included."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def epoch(self, facts: Epoch) -> None:
        self.times.append(time.perf_counter())
