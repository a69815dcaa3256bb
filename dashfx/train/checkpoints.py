"""Checkpoints of a fit: what it has come to so far, written atomically, read again, and gone back to."""

from __future__ import annotations

import copy
import math
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any, Protocol

import torch
from torch import Tensor

from dashfx.errors import RunFolderError, TrainingError, first_line
from dashfx.task import Task
from dashfx.train.progress import Epoch, Observer

SHARE = 0.03  # of the time, that writing checkpoints may take
LAST = 3  # epochs that a finished training is judged by


class Resumable(Protocol):
    """What a checkpoint is of, see `dashfx.train.fit.Learner`."""

    task: Task
    ring: int

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...

    def goes_back(self) -> int | None: ...

    def go_back(self, state: Mapping[str, Any]) -> None: ...


@dataclass
class Fitted:
    """A finished fit: the curve, the best validation metric and the weights that gave it last, where they are kept.

    `best_epoch` is -1 where every epoch was worse than the weights that training began with.

    Attributes:
        ring: epoch -> the learner's state at its end, where training may go back; -1 is the start.
        lost: steps and seconds of the epochs that were taken back, which the next epoch counts as its own.
        saving: seconds that this process's checkpoints took.
    """

    history: list[Epoch] = field(default_factory=list)
    best: float = float("nan")
    best_epoch: int = -1
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    stopped: str = ""
    ring: dict[int, dict[str, Any]] = field(default_factory=dict)
    lost: tuple[int, float] = (0, 0.0)
    saving: float = 0.0

    @property
    def seconds(self) -> float:
        return sum(epoch.seconds for epoch in self.history)

    @property
    def judged(self) -> float:
        """The mean metric of the last epochs, less noisy than the best; `best` where training only did harm."""
        return self.best if self.best_epoch < 0 else fmean(epoch.metric for epoch in self.history[-LAST:])

    @property
    def valid_loss(self) -> float:
        """The mean validation loss of the last epochs; NaN without any."""
        return fmean(epoch.valid_loss for epoch in self.history[-LAST:]) if self.history else math.nan


def keep_or_go_back(learner: Resumable, fitted: Fitted, stage: str, observer: Observer) -> None:
    """Keep the state that the learner is in, or go back to an earlier one where it wants to."""
    back, now = learner.goes_back(), len(fitted.history) - 1
    if back is None:
        if learner.ring:
            fitted.ring[now] = cpu_copy(learner.state_dict())
            fitted.ring = {epoch: state for epoch, state in fitted.ring.items() if epoch > now - learner.ring}
        return
    if back not in fitted.ring:
        kept = ", ".join(str(epoch) for epoch in fitted.ring)
        raise TrainingError(
            f"stage {stage}: a monitor goes back from epoch {now} to {back}, and only the states of {kept} are kept; "
            "let its `ring` say how many epochs back it may go"
        )
    learner.go_back(copy.deepcopy(fitted.ring[back]))  # optimisers would go on in the kept tensors themselves
    gone, fitted.history = fitted.history[back + 1 :], fitted.history[: back + 1]
    fitted.ring = {epoch: state for epoch, state in fitted.ring.items() if epoch <= back}
    fitted.lost = sum(epoch.steps for epoch in gone), sum(epoch.seconds for epoch in gone)
    fitted.best = fitted.history[-1].best if fitted.history else float("nan")
    equal = [epoch.epoch for epoch in fitted.history if not learner.task.better(fitted.best, epoch.metric)]
    fitted.best_epoch = max(equal, default=-1)
    observer.note(f"{stage}: after epoch {now + 1} it goes back to where it was after epoch {back + 1}")


def write_atomically(state: Mapping[str, Any], path: Path) -> None:
    """torch.save to a neighbour, then rename: a reader sees the old file or the new one, never half of one.

    Raises:
        RunFolderError: it cannot be written, as when the disk is full.
    """
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as file:
            torch.save(dict(state), file)
            file.flush()
            os.fsync(file.fileno())  # a power cut must not leave the new name on an empty file
        os.replace(part, path)
        sync_folder(path.parent)
    except (OSError, RuntimeError) as error:
        reason = error.__context__ or error  # torch.save turns a full disk into a RuntimeError about positions
        raise RunFolderError(
            f"checkpoint {path} cannot be written: {first_line(reason)}; the last complete one is kept; "
            "free some space and go on with --resume"
        ) from None
    finally:
        part.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Have the names in a folder written to the disk; Windows does so by itself."""
    if os.name == "nt":
        return
    place = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(place)
    except OSError:  # a file system that cannot; the file itself has been written
        return
    finally:
        os.close(place)


def read_state(path: Path) -> dict[str, Any]:
    """What a checkpoint of a run holds, on the CPU.

    Raises:
        RunFolderError: it is damaged.
    """
    again = "remove it, and --resume trains that stage again"
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch, zipfile and pickle raise what they like about foreign bytes
        raise RunFolderError(f"{path} is damaged ({type(error).__name__}: {first_line(error)}); {again}") from None
    if not isinstance(state, dict) or not isinstance(state.get("learner"), dict):
        raise RunFolderError(f"{path} is damaged (it holds no state of a training); {again}")
    return state


class Checkpoint:
    """The file of a training's last epochs, as a context manager around them.

    Where epochs follow each other so fast that writing each would take more than `SHARE` of the time, some are held in
    memory, and what is held last is written at the end, also where that is an error. A killed process loses what was
    held; the training that goes on from the file comes to the same.

    Args:
        path: None writes nothing.

    Attributes:
        seconds: what holding and writing have taken.
    """

    def __init__(self, path: Path | None) -> None:
        self._path, self._held = path, dict[str, Any]()
        self._next = -math.inf  # when the next one is due
        self.seconds = 0.0

    def __enter__(self) -> Checkpoint:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._held and self._path and not (kind and issubclass(kind, RunFolderError)):
            self._write(self._held, self._path)

    def keep(self, learner: Resumable, fitted: Fitted) -> None:
        """Take what an epoch has come to.

        Raises:
            RunFolderError: it cannot be written.
        """
        if self._path is None:
            return
        started = time.perf_counter()
        if started >= self._next:
            self._write(_state(learner.state_dict(), fitted), self._path)
        else:
            self._held = _state(cpu_copy(learner.state_dict()), fitted)
            self.seconds += time.perf_counter() - started

    def _write(self, state: Mapping[str, Any], path: Path) -> None:
        started = time.perf_counter()
        write_atomically({**state, "history": [asdict(epoch) for epoch in state["history"]]}, path)
        now, self._held = time.perf_counter(), {}
        self.seconds, self._next = self.seconds + now - started, now + (now - started) / SHARE


def _state(learner: Mapping[str, Any], fitted: Fitted) -> dict[str, Any]:
    """All of a checkpoint; what it shares with the fit is replaced there, not changed."""
    facts = {"best": fitted.best, "best_epoch": fitted.best_epoch, "stopped": fitted.stopped}
    facts |= {"ring": dict(fitted.ring), "lost": fitted.lost, "best_weights": fitted.best_weights}
    return {"learner": learner, "history": list(fitted.history), **facts}


def resumed(learner: Resumable, path: Path) -> Fitted:
    """What a fit had come to, with the learner in the state that the checkpoint holds.

    Raises:
        RunFolderError: it is damaged, or of another run.
    """
    state = read_state(path)
    try:
        learner.load_state_dict(state["learner"])
        history = [Epoch(**facts) for facts in state["history"]]
        kept = {name: state[name] for name in ("ring", "lost") if name in state}  # not in those of earlier versions
        return Fitted(history, state["best"], state["best_epoch"], state["best_weights"], state["stopped"], **kept)
    except (KeyError, TypeError, AttributeError, RuntimeError, ValueError) as error:
        line = first_line(error)
        raise RunFolderError(f"{path} does not fit this run ({line}); start again with another --out") from None


def cpu_copy(state: Any) -> Any:
    """The same mappings and lists of copies on the CPU."""
    if isinstance(state, Tensor):
        return copy.deepcopy(state.detach()).cpu()
    if isinstance(state, Mapping):
        return {name: cpu_copy(value) for name, value in state.items()}
    return type(state)(map(cpu_copy, state)) if isinstance(state, list | tuple) else state
