"""Trials of a study that workers train: each is judged by the trials of earlier batches, so that any order will do."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
import torch
from accelerate.utils import broadcast_object_list
from optuna.pruners import BasePruner, NopPruner, SuccessiveHalvingPruner
from optuna.trial import FrozenTrial, TrialState
from torch import nn

from dashfx.errors import DivergedError
from dashfx.genotype import Genotype
from dashfx.run.run import Run
from dashfx.stages.jobs.job import Answer, Job, job_of
from dashfx.stages.jobs.worker import Task, done
from dashfx.stages.rewrite import accelerated, fourier_convs
from dashfx.train.checkpoints import read_state
from dashfx.train.fit import Supervised, fit
from dashfx.train.progress import Epoch, Observer

STAGE = "tune"
RUNG = "completed_rung_"  # what Optuna's halving keeps of a trial at each of its rungs


def trial_value(
    tried: Run,
    model: nn.Module,
    trial: optuna.Trial | None,
    convs: Mapping[str, str] | None = None,
    scratch: Path | None = None,
) -> float:
    """The best metric on the validation part.

    Args:
        tried: the run with the trial's options.
        trial: of the study that decides whether it goes on; None follows another process's word.
        scratch: where a worker keeps checkpoints, and goes on with those it finds.

    Raises:
        optuna.TrialPruned: others are better at this epoch, or training diverged or did not fit into memory.
    """
    reporter = _Reporter(tried.session.observer, trial)
    if scratch is not None:
        reporter.again(scratch / f"{STAGE}-last.pt")
    try:
        with accelerated(tried, model, convs):
            learner = Supervised(model, tried.inputs.task, tried.config.retrain, tried.session.accelerator)
            best = fit(
                learner,
                tried.inputs.data,
                stage=STAGE,
                seed=tried.config.seed,
                folder=scratch,
                resume=scratch is not None,
                observer=reporter,
            ).best
    except (DivergedError, torch.OutOfMemoryError) as error:
        raise optuna.TrialPruned(str(error)) from None
    if math.isnan(best):
        raise optuna.TrialPruned("the metric is not defined")
    return best


class _Reporter(Observer):
    """Tells the study of every epoch, and stops a trial that the study has no hope for: in all processes at once."""

    def __init__(self, observer: Observer, trial: optuna.Trial | None) -> None:
        self._observer, self._trial = observer, trial
        # What a killed process has reported: the same values, which Optuna would warn of.
        self._known = trial.storage.get_trial(trial._trial_id).intermediate_values.keys() if trial else ()

    def step(self, stage: str, epoch: int, step: int, steps: int) -> None:
        self._observer.step(stage, epoch, step, steps)

    def epoch(self, facts: Epoch) -> None:
        hopeless = False
        if self._trial is not None:
            if facts.epoch + 1 not in self._known:
                self._trial.report(facts.best, facts.epoch + 1)
            hopeless = facts.epoch + 1 < facts.epochs and self._trial.should_prune()
        (hopeless,) = broadcast_object_list([hopeless])
        if hopeless:
            raise optuna.TrialPruned

    def again(self, checkpoint: Path) -> None:
        """Report the epochs that an earlier worker has trained."""
        for facts in read_state(checkpoint)["history"] if checkpoint.is_file() else ():
            self.epoch(Epoch(**facts))


def pruner_of(halving: int, epochs: int) -> BasePruner:
    """Rungs at epochs / factor^2 and epochs / factor: two decisions in the life of a trial."""
    return SuccessiveHalvingPruner(max(1, epochs // halving**2), halving) if halving else NopPruner()


def rehearsal(earlier: Sequence[Mapping[str, float]], halving: int, epochs: int, maximise: bool) -> optuna.Trial:
    """A trial of a study in memory, which holds no more of others than what they came to at their rungs."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="maximize" if maximise else "minimize", pruner=pruner_of(halving, epochs))
    for rungs in earlier:
        study.add_trial(optuna.trial.create_trial(state=TrialState.PRUNED, system_attrs=dict(rungs)))
    return study.ask()


def rungs_before(study: optuna.Study, number: int, together: int) -> list[dict[str, float]]:
    """What the trials of earlier batches have come to at their rungs, for a trial of that number."""
    first = number // together * together
    return [rungs_of(trial) for trial in study.get_trials(deepcopy=False) if trial.number < first]


def rungs_of(trial: FrozenTrial) -> dict[str, float]:
    return {name: value for name, value in trial.system_attrs.items() if name.startswith(RUNG)}


def trial_job(
    tried: Run, number: int, genotype: Genotype | None, model: nn.Module, earlier: Sequence[Mapping[str, float]]
) -> Job:
    """The job of a trial; `tried` is the run with its options."""
    options = tried.config
    facts = {"halving": options.tune.halving, "epochs": options.retrain.epochs, "earlier": list(earlier)}
    more = json.dumps({**facts, "maximise": tried.inputs.task.maximise})
    return job_of(tried, f"trial-{number}", options, genotype, model, fourier_convs(tried, model), more)


def train_trial(job: Job) -> Answer:
    """The job of a worker: one trial, from its last checkpoint to its end."""
    return done(job, _train)


def _train(task: Task) -> Answer:
    facts: dict[str, Any] = json.loads(task.job.more)
    trial, run = rehearsal(**facts), task.run
    try:
        model = task.model(run.for_retraining())
        value = trial_value(run, model, trial, task.convs, Path(task.job.scratch))
    except optuna.TrialPruned:
        value = None
    return outcome(trial, value)


def outcome(trial: optuna.Trial, value: float | None) -> Answer:
    """What a rehearsed trial has come to."""
    found = trial.storage.get_trial(trial._trial_id)
    return Answer(value, reports=tuple(found.intermediate_values.items()), rungs=rungs_of(found))


def retold(trial: optuna.Trial, answer: Answer) -> None:
    """Have the run's own study know of a trial what a rehearsal has come to."""
    known = trial.storage.get_trial(trial._trial_id).intermediate_values
    for epoch, value in answer.reports:
        if epoch not in known:
            trial.report(value, epoch)
    for name, value in answer.rungs.items():
        trial.storage.set_trial_system_attr(trial._trial_id, name, value)
