"""Tuning: a run's model is trained with other options of retraining, and the best on validation come out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import optuna
from accelerate.utils import broadcast_object_list
from optuna.trial import TrialState
from torch import nn

from dashfx.config.run import RetrainConfig
from dashfx.config.search import AUTO
from dashfx.config.tuning import TuneConfig
from dashfx.errors import ConfigError, TrainingError
from dashfx.genotype import Genotype
from dashfx.run.folder import write_text, written_config
from dashfx.run.run import Run
from dashfx.stages.finalists import by_rule_of
from dashfx.stages.jobs.hand_out import cleared, handed_out
from dashfx.stages.jobs.job import Answer, Job
from dashfx.stages.jobs.trials import (
    outcome,
    pruner_of,
    rehearsal,
    retold,
    rungs_before,
    train_trial,
    trial_job,
    trial_value,
)
from dashfx.stages.retrain import epochs_of, lowered
from dashfx.train.length import Bounds
from dashfx.tune.space import Dimension, dimensions, present, suggest, with_values
from dashfx.tune.study import DONE, Tuned, end_trial, next_trial, open_study, planned, taking_turns, trials_of

Start = Callable[[Run], nn.Module]  # the model that a run with these options would retrain, anew at every call
Chosen = Callable[[Run], Genotype]  # and the genotype that makes it
Values = dict[str, Any]  # of a trial: the options that it tries


@dataclass(frozen=True)
class Trials:
    """What the trials of a study train."""

    start: Start
    chosen: Chosen

    def genotype(self, tried: Run) -> Genotype | None:
        """None for the untouched model."""
        return None if tried.config.search.kind == "untouched" else self.chosen(tried)


def tuned(run: Run, supernet: nn.Module, genotype: Genotype) -> Tuned | None:
    """The options of retraining that did best on the validation part, and all trials; None where nothing is tuned.

    What the study has found stands in the run's folder, where a resumed run takes it from.
    """
    by_search = next(iter(run.ledger.recipes), None)
    if not run.config.tune.wanted and by_search is None:
        return None

    def chosen(tried: Run) -> Genotype:
        return by_rule_of(tried.config, run, supernet, genotype)

    def start(tried: Run) -> nn.Module:
        return lowered(tried.silent(), supernet, chosen(tried))

    folder = run.session.folder
    with run.stage("tune", "the recipe that the search has found" if by_search else _plan(run)):
        known = folder is not None and folder.tuned.is_file()
        if folder is not None and known:
            found = Tuned.load(folder.tuned)
        else:
            found = by_search or tune_run(run, genotype, start, chosen)
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


def tune_run(run: Run, genotype: Genotype, start: Start, chosen: Chosen | None = None) -> Tuned:
    """The study of this run, carried on until its trials or minutes are spent.

    Args:
        chosen: the genotype of a trial, where its options read another one.

    All trials train with the same seed, on the train part, and are judged on the validation part. Under several
    processes the first one asks and tells, and all train each trial together.

    Raises:
        ConfigError: a space that does not fit, or a database that cannot be opened.
        RunFolderError: a study of another space.
        TrainingError: no trial came to its end.
    """
    space, trials = check_space(run), Trials(start, chosen or (lambda _: genotype))
    done: list[Tuned | None] = [None]
    if run.session.is_main:
        study = _study(run, genotype, space)
        _optimise(study, space, run, trials)
        broadcast_object_list([None])  # the end, for the processes that follow
        done = [_tuned(study)]
    else:
        _follow(run, trials)
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
    usual = {f"retrain.{name}": value for name, value in RetrainConfig().model_dump(mode="json").items()}
    journal, facts = folder.study if folder else None, _facts(run, genotype, space)
    study = open_study(config.tune, name, journal, facts, run.inputs.task.maximise, usual)
    study.pruner = pruner_of(config.tune.halving, trial_epochs(config.tune, epochs_of(run)))
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


def _first(space: dict[str, Dimension], run: Run) -> dict[str, Any] | None:
    """The options as they are come first, so that tuning can only gain; a grid says itself what is tried."""
    if run.config.tune.sampler == "grid":
        return None
    return present(space, run.config, run.inputs.for_retraining().start_model())


def _optimise(study: optuna.Study, space: dict[str, Dimension], run: Run, trials: Trials) -> None:
    while batch := _asked(study, space, run):
        for (trial, values), answer in zip(batch, _answers(study, run, batch, trials), strict=True):
            end_trial(study, trial, answer.value, answer.seconds)
            state = "pruned" if answer.value is None else "complete"
            run.session.observer.trial(trial.number, values, answer.value, state)
            done = study.get_trials(deepcopy=False, states=DONE)
            best = study.best_value if any(trial.state == TrialState.COMPLETE for trial in done) else None
            total = max(planned(run.config.tune, space), len(done))
            run.session.observer.evaluated("tune", len(done), total, best)


def _asked(study: optuna.Study, space: dict[str, Dimension], run: Run) -> list[tuple[optuna.Trial, Values]]:
    """The trials of the next batch, each with its values, before any of them is trained; none where all is done.

    Batches end at multiples of `tune.together`, also where some of one were over when the run was killed.
    """
    options, folder, first = run.config.tune, run.session.folder, _first(space, run)
    batch: list[tuple[optuna.Trial, Values]] = []
    with taking_turns(folder.study if folder else None):
        while not batch or (batch[-1][0].number + 1) % options.together:
            taken = [trial.number for trial, _ in batch]
            trial = next_trial(study, options, space, run.config.seed, first, taken)
            if trial is None:
                break
            batch.append((trial, suggest(trial, space)))
    return batch


def _answers(
    study: optuna.Study, run: Run, batch: Sequence[tuple[optuna.Trial, Values]], trials: Trials
) -> Iterator[Answer]:
    """What the trials of a batch come to, in order; the study learns all but their ends."""
    if run.session.workers is not None:
        yield from _by_workers(study, run, batch, trials)
        return
    for trial, values in batch:
        started = time.perf_counter()
        broadcast_object_list([values])
        judge, tried = _judge(study, run, trial), trial_run(run, values)
        try:
            value = trial_value(tried, trials.start(tried), judge)
        except optuna.TrialPruned:
            value = None
        answer = replace(outcome(judge, value), seconds=time.perf_counter() - started)
        if judge is not trial:
            retold(trial, answer)
        yield answer


def _judge(study: optuna.Study, run: Run, trial: optuna.Trial) -> optuna.Trial:
    """What decides whether a trial goes on: of a batch of several, no trial may see how others of it are doing."""
    options = run.config.tune
    if options.together == 1:
        return trial
    epochs, earlier = trial_epochs(options, epochs_of(run)), rungs_before(study, trial.number, options.together)
    return rehearsal(earlier, options.halving, epochs, run.inputs.task.maximise)


def _by_workers(
    study: optuna.Study, run: Run, batch: Sequence[tuple[optuna.Trial, Values]], trials: Trials
) -> Iterator[Answer]:
    together, jobs = run.config.tune.together, list[Job]()
    if together == 1:
        run.note("tune.together=1: one trial at a time, so one worker at a time has work; set it to 4 or more")
    for trial, values in batch:
        tried, earlier = trial_run(run, values), rungs_before(study, trial.number, together)
        jobs.append(trial_job(tried, trial.number, trials.genotype(tried), trials.start(tried), earlier))
    for (trial, _), answer in zip(batch, handed_out(run, train_trial, jobs), strict=True):
        retold(trial, answer)
        yield answer
    cleared(jobs)


def _follow(run: Run, trials: Trials) -> None:
    """Train what the first process asks for, until it asks no more."""
    while True:
        (values,) = broadcast_object_list([None])
        if values is None:
            return
        try:
            tried = trial_run(run, values)
            trial_value(tried, trials.start(tried), None)
        except optuna.TrialPruned:
            continue


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
