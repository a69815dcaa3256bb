"""Tuning: a run's model is trained with other options of retraining, and the best on validation come out."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable
from typing import Any

import optuna
import torch
from accelerate.utils import broadcast_object_list
from optuna.pruners import BasePruner, NopPruner, SuccessiveHalvingPruner
from optuna.trial import TrialState
from torch import nn

from dashfx.config.search import AUTO
from dashfx.config.tuning import TuneConfig
from dashfx.errors import ConfigError, DivergedError, TrainingError
from dashfx.genotype import Genotype
from dashfx.run.folder import write_text, written_config
from dashfx.run.run import Run
from dashfx.stages.finalists import by_rule_of
from dashfx.stages.retrain import epochs_of, lowered
from dashfx.stages.rewrite import accelerated
from dashfx.train.fit import Supervised, fit
from dashfx.train.length import Bounds
from dashfx.train.progress import Epoch, Observer
from dashfx.tune.space import Dimension, dimensions, present, suggest, with_values
from dashfx.tune.study import DONE, Tuned, end_trial, next_trial, open_study, planned, taking_turns, trials_of

Start = Callable[[Run], nn.Module]  # the model that a run with these options would retrain, anew at every call


def tuned(run: Run, supernet: nn.Module, genotype: Genotype) -> Tuned | None:
    """The options of retraining that did best on the validation part, and all trials; None where nothing is tuned.

    What the study has found stands in the run's folder, where a resumed run takes it from.
    """
    if not run.config.tune.wanted:
        return None

    def start(tried: Run) -> nn.Module:
        return lowered(tried.silent(), supernet, by_rule_of(tried.config, run, supernet, genotype))

    folder = run.session.folder
    with run.stage("tune", _plan(run)):
        known = folder is not None and folder.tuned.is_file()
        found = Tuned.load(folder.tuned) if folder is not None and known else tune_run(run, genotype, start)
        if run.session.writes and not known:
            write_text(run.session.writes.tuned, found.to_json())
        run.note(f"tune: trial {found.number + 1} of {len(found.trials)} is the best, {found}")
        run.session.wait()
    return found


def _plan(run: Run) -> str:
    options = run.config.tune
    limits = {"trials": options.trials, "minutes": options.minutes}
    said = " or ".join(f"{limit:g} {name}" for name, limit in limits.items() if limit)
    return f"{options.sampler}, {said}, {trial_epochs(options, epochs_of(run))} epochs each"


def tune_run(run: Run, genotype: Genotype, start: Start) -> Tuned:
    """The study of this run, carried on until its trials or minutes are spent.

    All trials train with the same seed, on the train part, and are judged on the validation part. Under several
    processes the first one asks and tells, and all train each trial together.

    Raises:
        ConfigError: a space that does not fit, or a database that cannot be opened.
        RunFolderError: a study of another space.
        TrainingError: no trial came to its end.
    """
    space = check_space(run)
    done: list[Tuned | None] = [None]
    if run.session.is_main:
        study = _study(run, genotype, space)
        _optimise(study, space, run, start)
        broadcast_object_list([None])  # the end, for the processes that follow
        done = [_tuned(study)]
    else:
        _follow(run, start)
    found: Tuned = broadcast_object_list(done)[0]
    return found


def check_space(run: Run) -> dict[str, Dimension]:
    """What is tuned, once every value has been seen to be possible.

    Raises:
        ConfigError, ModelError: one that is not.
    """
    space = dimensions(run.config, run.inputs.for_retraining().start_model())
    for name, choices in space.items():
        if (name == "augment" or name.startswith("model_args.")) and isinstance(choices, tuple):
            for value in choices:
                run.inputs.with_config(with_values(run.config, {name: value})).for_retraining().fresh_model()
    return space


def trial_run(run: Run, values: dict[str, Any]) -> Run:
    """The run with a trial's values and a trial's length."""
    options = run.config.tune
    config = with_values(run.config, values)
    size: dict[str, Any] = {"epochs": trial_epochs(options, epochs_of(run))}
    size |= {"schedule": "warmup-stable-decay"} if config.retrain.epochs == AUTO else {}
    size |= {"fraction": options.fraction} if options.fraction else {}
    return run.with_config(config.model_copy(update={"retrain": config.retrain.model_copy(update=size)}))


def trial_epochs(options: TuneConfig, retraining: Bounds) -> int:
    """Of a trial: unless told two fifths of what is reckoned with for retraining, 80 of 200 as in the paper."""
    return options.epochs or max(1, round(0.4 * retraining.usual))


def _study(run: Run, genotype: Genotype, space: dict[str, Dimension]) -> optuna.Study:
    config, folder = run.config, run.session.folder
    name = folder.root.resolve().name if folder else "tuning"
    study = open_study(
        config.tune, name, folder.study if folder else None, _facts(run, genotype, space), run.inputs.task.maximise
    )
    study.pruner = _pruner(config.tune, trial_epochs(config.tune, epochs_of(run)))
    return study


def _facts(run: Run, genotype: Genotype, space: dict[str, Dimension]) -> dict[str, Any]:
    """All that has to be the same for two trials to be comparable."""
    shared = trial_run(run, {}).config
    fixed = shared.retrain.model_dump(mode="json", exclude=set(space))
    choices = {name: each if isinstance(each, tuple) else each.model_dump() for name, each in space.items()}
    folder = run.session.folder
    said = written_config(folder.root) if folder else shared  # a folder that was moved holds the same study
    known = {"model": said.model, "data": said.data, "metric": run.inputs.task.metric_name, "seed": shared.seed}
    known |= {} if "augment" in space or shared.augment is None else {"augment": shared.augment}
    return {
        **known,
        **{f"space.{name}": each for name, each in choices.items()},
        **{f"retrain.{name}": value for name, value in fixed.items()},
        "genotype": {name: str(choice) for name, choice in genotype.items()},
    }


def _pruner(options: TuneConfig, epochs: int) -> BasePruner:
    """Rungs at epochs / factor^2 and epochs / factor: two decisions in the life of a trial."""
    if not options.halving:
        return NopPruner()
    return SuccessiveHalvingPruner(max(1, epochs // options.halving**2), options.halving)


def _first(space: dict[str, Dimension], run: Run) -> dict[str, Any] | None:
    """The options as they are come first, so that tuning can only gain; a grid says itself what is tried."""
    if run.config.tune.sampler == "grid":
        return None
    return present(space, run.config, run.inputs.for_retraining().start_model())


def _optimise(study: optuna.Study, space: dict[str, Dimension], run: Run, start: Start) -> None:
    options, folder, first = run.config.tune, run.session.folder, _first(space, run)
    while True:
        with taking_turns(folder.study if folder else None):
            trial = next_trial(study, options, space, run.config.seed, first)
        if trial is None:
            return
        started, value = time.perf_counter(), None
        values = suggest(trial, space)
        broadcast_object_list([values])
        with contextlib.suppress(optuna.TrialPruned):
            value = _train(run, values, start, trial)
        end_trial(study, trial, value, time.perf_counter() - started)
        run.session.observer.trial(trial.number, values, value, "pruned" if value is None else "complete")
        done = study.get_trials(deepcopy=False, states=DONE)
        best = study.best_value if any(trial.state == TrialState.COMPLETE for trial in done) else None
        run.session.observer.evaluated("tune", len(done), max(planned(options, space), len(done)), best)


def _follow(run: Run, start: Start) -> None:
    """Train what the first process asks for, until it asks no more."""
    while True:
        (values,) = broadcast_object_list([None])
        if values is None:
            return
        try:
            _train(run, values, start, None)
        except optuna.TrialPruned:
            continue


def _train(run: Run, values: dict[str, Any], start: Start, trial: optuna.Trial | None) -> float:
    """The best metric on the validation part.

    Raises:
        optuna.TrialPruned: others are better at this epoch, or training diverged or did not fit into memory.
    """
    tried = trial_run(run, values)
    model = start(tried)
    try:
        with accelerated(tried, model):
            learner = Supervised(model, run.inputs.task, tried.config.retrain, run.session.accelerator)
            reporter = _Reporter(run.session.observer, trial)
            best = fit(learner, tried.inputs.data, stage="tune", seed=run.config.seed, observer=reporter).best
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


def _tuned(study: optuna.Study) -> Tuned:
    trials = tuple(trials_of(study))
    if not any(trial.state == "complete" for trial in trials):
        if not trials:
            raise ConfigError("tune: there is no trial yet; give tune.trials or tune.minutes")
        raise TrainingError(
            f"tune: none of {len(trials)} trials came to its end; lower the rates in tune.space, or set tune.halving=0"
        )
    best = study.best_trial
    return Tuned(best.params, float(study.best_value), best.number, trials)
