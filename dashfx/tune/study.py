"""A run's folder or a database goes in; an Optuna study of this very space comes out, with what was begun before."""

from __future__ import annotations

import contextlib
import json
import math
import os
import socket
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
import psutil
from optuna.samplers import BaseSampler, GridSampler, RandomSampler, TPESampler
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, TrialState

from dashfx.config.tuning import TuneConfig
from dashfx.errors import ConfigError, RunFolderError, first_line
from dashfx.train.fit import derive_seed
from dashfx.tune.space import Dimension

ATTEMPTS = 3  # of a trial that is killed again and again
GRACE = 60  # seconds within which a trial that has begun says who trains it
DONE = (TrialState.COMPLETE, TrialState.PRUNED)


@dataclass(frozen=True)
class Trial:
    """One training of the study.

    Attributes:
        metric: the best on the validation part; None where it diverged at once.
        state: "complete", "pruned" (stopped early, or diverged), "running" or "failed" (killed; tried again).
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
            facts = json.loads(path.read_text(encoding="utf-8"))
            return cls(**{**facts, "trials": tuple(Trial(**each) for each in facts["trials"])})
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise RunFolderError(f"{path} cannot be read ({error!r}); remove it and tune again") from None


def open_study(
    options: TuneConfig, name: str, journal: Path | None, facts: Mapping[str, Any], maximise: bool
) -> optuna.Study:
    """The study, new or as it was left; what was killed on this machine waits to be tried again.

    Args:
        name: of the study, which tells it from others in one database.
        journal: the file that keeps it, where `tune.storage` names no database; None keeps it in memory.
        facts: everything that has to be the same for trials to be comparable, as flat names and values.

    Raises:
        RunFolderError: a study of another space.
        ConfigError: a database that cannot be opened.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        study = optuna.create_study(
            storage=_storage(options.storage, journal),
            study_name=name,
            direction="maximize" if maximise else "minimize",
            load_if_exists=True,
        )
    except Exception as error:  # of SQLAlchemy, a driver that is missing, Optuna itself
        where = options.storage or journal
        raise ConfigError(f"the study in {where} cannot be opened: {first_line(error)}; check tune.storage") from error
    _check_same(study, json.loads(json.dumps(facts)), options.storage or str(journal))
    _try_again(study)
    return study


def _storage(url: str, journal: Path | None) -> BaseStorage | str | None:
    if url or journal is None:
        return url or None
    lock = JournalFileOpenLock(str(journal))  # unlike links, on every system
    if journal.exists():
        lock.acquire()
        content = journal.read_bytes()
        if not content.endswith(b"\n"):  # a killed run left half a line, to which the next would be appended
            journal.write_bytes(content[: content.rfind(b"\n") + 1])
        lock.release()
    return JournalStorage(JournalFileBackend(str(journal), lock))


def _check_same(study: optuna.Study, facts: Mapping[str, Any], where: str) -> None:
    before = study.user_attrs.get("facts")
    if before is None:
        study.set_user_attr("facts", facts)
        return
    changed = [
        f"{key}: {before.get(key)!r} there, {facts.get(key)!r} now"
        for key in before | facts
        if before.get(key) != facts.get(key)
    ]
    if changed:
        raise RunFolderError(
            f"{where} holds a study of something else ({'; '.join(changed[:3])}); use the same options, "
            "remove it, or start another run"
        )


def _try_again(study: optuna.Study) -> None:
    """Put trials that were killed back into the queue."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if _is_dead(trial):
            with contextlib.suppress(ValueError):  # another worker was quicker
                study.tell(trial.number, state=TrialState.FAIL)
    trials = study.get_trials(deepcopy=False)
    followed = {trial.user_attrs.get("retry_of") for trial in trials}
    for trial in trials:
        attempt = trial.user_attrs.get("attempt", 1)
        if trial.state == TrialState.FAIL and trial.number not in followed and attempt < ATTEMPTS and trial.params:
            study.enqueue_trial(trial.params, user_attrs={"retry_of": trial.number, "attempt": attempt + 1})


def claim(trial: optuna.Trial) -> None:
    """Write down which process trains this trial."""
    trial.set_user_attr("worker", [socket.gethostname(), os.getpid()])


def _is_dead(trial: FrozenTrial) -> bool:
    """Whether no process trains the trial; of another machine's nothing is known, so they count as alive."""
    if "worker" not in trial.user_attrs:  # it has only just begun, or was killed at that very moment
        return trial.datetime_start is not None and (datetime.now() - trial.datetime_start).total_seconds() > GRACE
    host, pid = trial.user_attrs["worker"]
    return bool(host == socket.gethostname() and (pid == os.getpid() or not psutil.pid_exists(pid)))


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


def has_room(study: optuna.Study, options: TuneConfig, sampler: BaseSampler) -> bool:
    """Whether one more trial may begin; those that others are training count as if they were done."""
    trials = study.get_trials(deepcopy=False)
    done = [trial for trial in trials if trial.state in DONE]
    running = sum(trial.state == TrialState.RUNNING for trial in trials)
    seconds = sum(trial.duration.total_seconds() for trial in done if trial.duration)
    if options.trials and len(done) + running >= options.trials:
        return False
    if options.minutes and seconds >= 60 * options.minutes:
        return False
    waiting = any(trial.state == TrialState.WAITING for trial in trials)
    return waiting or not (isinstance(sampler, GridSampler) and sampler.is_exhausted(study))


def trials_of(study: optuna.Study) -> Iterator[Trial]:
    """Every trial that has begun, in order."""
    names = {TrialState.FAIL: "failed"}
    for trial in study.get_trials(deepcopy=False):
        if trial.state == TrialState.WAITING:
            continue
        seconds = trial.duration.total_seconds() if trial.duration else 0.0
        state = names.get(trial.state, trial.state.name.lower())
        yield Trial(trial.number, trial.params, trial.value, state, trial.last_step or 0, round(seconds, 2))
