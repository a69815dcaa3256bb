"""A run's folder or a database goes in; an Optuna study of this very space comes out, with what was begun before."""

from __future__ import annotations

import contextlib
import json
import math
import os
import secrets
import socket
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import optuna
import psutil
from filelock import FileLock
from optuna.samplers import BaseSampler, GridSampler, RandomSampler, TPESampler
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, TrialState

from dashfx.config.json import parse_json
from dashfx.config.tuning import TuneConfig
from dashfx.errors import ConfigError, RunFolderError, first_line
from dashfx.train.fit import derive_seed
from dashfx.tune.space import Dimension

ATTEMPTS = 5  # of a trial that is killed again and again
DONE = (TrialState.COMPLETE, TrialState.PRUNED)


@dataclass(frozen=True)
class Trial:
    """One training of the study.

    Attributes:
        metric: the best on the validation part; None where it diverged at once.
        state: "complete", "pruned" (stopped early, or diverged), "running" or "failed" (killed too often).
    """

    number: int
    values: Mapping[str, Any]
    metric: float | None
    state: str
    epochs: int
    seconds: float


@dataclass(frozen=True)
class Tuned:
    """The best values of a study, their metric on the validation part, and all trials; what `tuned.json` holds.

    Attributes:
        finals: "tuned" and "plain", the metric after a whole retraining by these values and by the options as they
            were, and "kept", which of the two is; None where they were not compared.
    """

    values: Mapping[str, Any]
    metric: float
    number: int
    trials: tuple[Trial, ...] = field(default=())
    finals: Mapping[str, Any] | None = None

    @property
    def taken(self) -> Mapping[str, Any]:
        """The values to retrain with: none where the options as they were did better."""
        return {} if self.finals and self.finals["kept"] == "plain" else self.values

    @property
    def finals_text(self) -> str:
        found = self.finals or {}
        values = ", ".join(f"{name} {found[name]:.4f}" for name in ("tuned", "plain"))
        return f"validation: {values}; the {found['kept']} recipe is kept"

    def __str__(self) -> str:
        short = {name: f"{value:.3g}" if isinstance(value, float) else value for name, value in self.values.items()}
        return ", ".join(f"{name} {value}" for name, value in short.items())

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def load(cls, path: Path) -> Tuned:
        """What `to_json` wrote.

        Raises:
            RunFolderError: the file is something else.
        """
        try:
            facts = parse_json(path.read_text(encoding="utf-8"))
            found = cls(**{**facts, "trials": tuple(Trial(**each) for each in facts["trials"])})
            _check_form(found)
            return found
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise RunFolderError(f"{path} is damaged ({first_line(error)}); remove it and tune again") from None


def _check_form(found: Tuned) -> None:
    """Raise a ValueError or TypeError where a file holds other things than `Tuned.to_json` writes."""
    values = [found.values, *(trial.values for trial in found.trials)]
    numbers = [found.metric, *(trial.seconds for trial in found.trials)]
    numbers += [trial.metric for trial in found.trials if trial.metric is not None]
    if not all(isinstance(each, dict) for each in values) or any(isinstance(each, str) for each in numbers):
        raise TypeError("its trials have no values, or no numbers")
    sum([float(each) for each in numbers], float(found.number))
    if found.finals is not None and (
        {"tuned", "plain", "kept"} - found.finals.keys() or found.finals["kept"] not in ("tuned", "plain")
    ):
        raise ValueError("its finals are incomplete")


def open_study(
    options: TuneConfig,
    name: str,
    journal: Path | None,
    facts: Mapping[str, Any],
    maximise: bool,
    usual: Mapping[str, Any] = MappingProxyType({}),
) -> optuna.Study:
    """The study, new or as it was left.

    Args:
        name: of the study, which tells it from others in one database.
        journal: the file that keeps it, where `tune.storage` names no database; None keeps it in memory.
        facts: everything that has to be the same for trials to be comparable, as flat names and values.
        usual: values of those that a study of an earlier version may not have.

    Raises:
        RunFolderError: a study of another space.
        ConfigError: a database that cannot be opened.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        storage = _storage(options.storage, journal)
        if isinstance(storage, JournalStorage):  # of one run, whatever its folder is called by now
            name = next(iter(optuna.get_all_study_names(storage)), name)
        study = optuna.create_study(
            storage=storage,
            study_name=name,
            direction="maximize" if maximise else "minimize",
            load_if_exists=True,
        )
    except Exception as error:  # of SQLAlchemy, a driver that is missing, Optuna itself
        where = options.storage or journal
        if options.storage:
            raise ConfigError(
                f"the study in {where} cannot be opened: {first_line(error)}; check tune.storage"
            ) from error
        raise RunFolderError(f"{where} is damaged ({first_line(error)}); remove it to tune anew") from error
    _check_same(study, json.loads(json.dumps(facts)), usual, options.storage or str(journal))
    return study


def _storage(url: str, journal: Path | None) -> BaseStorage | str | None:
    if url or journal is None:
        return url or None
    lock = JournalFileOpenLock(str(journal))  # unlike links, on every system
    if journal.exists():
        lock.acquire()
        try:
            _end_journal(journal)
        finally:
            lock.release()
    return JournalStorage(JournalFileBackend(str(journal), lock))


def _end_journal(journal: Path) -> None:
    """Take half a line away that a killed run has left, and to which the next one would be appended."""
    with journal.open("rb+") as file:
        content = file.read()
        if not content.endswith(b"\n"):
            file.truncate(content.rfind(b"\n") + 1)


def _check_same(study: optuna.Study, facts: Mapping[str, Any], usual: Mapping[str, Any], where: str) -> None:
    before = study.user_attrs.get("facts")
    if not isinstance(before, dict):
        study.set_user_attr("facts", facts)
        return
    before = {**{key: usual[key] for key in facts if key in usual}, **before}
    changed = [
        f"{key}: {before.get(key)!r} there, {facts.get(key)!r} now"
        for key in {**before, **facts}
        if before.get(key) != facts.get(key)
    ]
    if changed:
        raise RunFolderError(
            f"{where} holds a study of something else ({'; '.join(changed[:3])}); use the same options, "
            "remove it, or start another run"
        )


def next_trial(
    study: optuna.Study,
    options: TuneConfig,
    space: Mapping[str, Dimension],
    seed: int,
    first: Mapping[str, Any] | None,
    taken: Collection[int] = (),
) -> optuna.Trial | None:
    """The trial to train now, claimed for this process: one that a killed process has left, else a new one.

    A trial is born with its claim, so a kill at any moment leaves one that is known to be nobody's. It is taken up as
    it is, by its number and with the values that it has drawn: a study that was killed ends as one that was not.

    Args:
        first: the values of a study's first trial; None has the sampler draw them.
        taken: the numbers of trials that this process has claimed and not trained yet.

    Returns:
        None where the study is done.
    """
    trials = study.get_trials(deepcopy=False)
    left = _left_behind(study, [trial for trial in trials if trial.number not in taken])
    number = left.number if left else len(trials)
    drawn = sum(trial.state != TrialState.FAIL for trial in trials[:number])
    study.sampler = make_sampler(options, space, seed, drawn)
    if not has_room(study, options, study.sampler, resumed=left is not None):
        return None
    if left is None and any(trial.state == TrialState.WAITING for trial in trials):  # of an earlier version's queue
        trial = study.ask()
    else:
        trial = optuna.Trial(study, left._trial_id if left else _born(study, first if not trials else None))
    attempts = trial.user_attrs.get("attempts", 0) + 1
    trial.set_user_attr("worker", _this_process())
    trial.set_user_attr("attempts", attempts)
    return trial


def end_trial(study: optuna.Study, trial: optuna.Trial, value: float | None, seconds: float) -> None:
    """Write down what a trial came to: its value, or None where it was stopped early or diverged.

    Args:
        seconds: of its training; between its first and its last moment others may have been killed.
    """
    trial.set_user_attr("seconds", seconds)
    study.sampler = RandomSampler()  # a grid's would end a loop of Optuna's own, which there is none of
    study.tell(trial, value, state=TrialState.PRUNED if value is None else None)


@contextlib.contextmanager
def taking_turns(journal: Path | None) -> Iterator[None]:
    """Inside, no other worker of the same folder takes up a trial."""
    with FileLock(str(journal.with_name(".study.lock"))) if journal else contextlib.nullcontext():
        yield


def _left_behind(study: optuna.Study, trials: Sequence[FrozenTrial]) -> FrozenTrial | None:
    """The first trial whose process is gone; one that has been killed too often is given up."""
    for trial in trials:
        if trial.state != TrialState.RUNNING or not _is_dead(trial):
            continue
        if trial.user_attrs.get("attempts", 0) < ATTEMPTS:
            return trial
        study.tell(trial.number, state=TrialState.FAIL)
    return None


def _born(study: optuna.Study, fixed: Mapping[str, Any] | None) -> int:
    """A new trial that is this process's from its first moment, unlike one of `enqueue_trial`."""
    mark = [*_this_process(), secrets.token_hex(8)]
    own = {"fixed_params": dict(fixed)} if fixed is not None else {}
    template = optuna.trial.create_trial(state=TrialState.RUNNING, user_attrs={"worker": mark}, system_attrs=own)
    study.add_trial(template)
    found = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    return next(trial._trial_id for trial in found if trial.user_attrs.get("worker") == mark)


def _this_process() -> list[Any]:
    return [socket.gethostname(), os.getpid(), psutil.Process().create_time()]


def _is_dead(trial: FrozenTrial) -> bool:
    """Whether no process trains the trial; of another machine's nothing is known, so they count as alive."""
    host, pid, began = [*trial.user_attrs.get("worker", ()), None, None, None][:3]
    if host is None:  # earlier versions claimed a trial a moment after it had begun
        return True
    if host != socket.gethostname():
        return False
    if pid == os.getpid():
        return True
    try:
        found = psutil.Process(pid).create_time()
        return began is not None and abs(found - began) > 1  # another process has its number by now
    except psutil.NoSuchProcess:
        return True
    except psutil.AccessDenied:
        return False


def make_sampler(options: TuneConfig, space: Mapping[str, Dimension], seed: int, drawn: int) -> BaseSampler:
    """The sampler of the next trial; its seed is the trial's own, so that a continued study draws as it would have.

    Args:
        drawn: how many trials there are, killed ones apart.
    """
    own = derive_seed(seed, "tune", drawn)
    if options.sampler == "grid":
        return GridSampler({name: choices for name, choices in space.items() if isinstance(choices, tuple)}, seed)
    return RandomSampler(own) if options.sampler == "random" else TPESampler(seed=own, multivariate=True)


def planned(options: TuneConfig, space: Mapping[str, Dimension]) -> int:
    """How many trials there will be: as many as asked, no more than a grid has; 0 where only minutes are given."""
    grid = math.prod(len(choices) for choices in space.values() if isinstance(choices, tuple))
    return min(filter(None, [options.trials, grid if options.sampler == "grid" else 0]), default=0)


def has_room(study: optuna.Study, options: TuneConfig, sampler: BaseSampler, resumed: bool = False) -> bool:
    """Whether one more trial may be trained; those that others are training count as if they were done.

    Args:
        resumed: it is one that a killed process has left.
    """
    trials = study.get_trials(deepcopy=False)
    done = [trial for trial in trials if trial.state in DONE]
    running = sum(trial.state == TrialState.RUNNING for trial in trials) - resumed
    seconds = sum(map(_seconds, done))
    if options.trials and len(done) + running >= options.trials:
        return False
    if options.minutes and seconds >= 60 * options.minutes:
        return False
    waiting = any(trial.state == TrialState.WAITING for trial in trials)
    return resumed or waiting or not (isinstance(sampler, GridSampler) and sampler.is_exhausted(study))


def trials_of(study: optuna.Study) -> Iterator[Trial]:
    """Every trial that has begun, in order."""
    names = {TrialState.FAIL: "failed"}
    for trial in study.get_trials(deepcopy=False):
        if trial.state == TrialState.WAITING:
            continue
        seconds = _seconds(trial)
        state = names.get(trial.state, trial.state.name.lower())
        yield Trial(trial.number, trial.params, trial.value, state, trial.last_step or 0, round(seconds, 2))


def _seconds(trial: FrozenTrial) -> float:
    return float(trial.user_attrs.get("seconds", trial.duration.total_seconds() if trial.duration else 0.0))
