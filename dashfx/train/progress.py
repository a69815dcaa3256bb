"""Progress of a run: stages, passes, steps, epochs and notes go to observers; one of them writes JSONL."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from dashfx.config.json import parse_json


@dataclass(frozen=True)
class Epoch:
    """One finished epoch.

    Attributes:
        loss: mean training loss over the epoch.
        metric: the task's metric on the validation part.
        best: the best metric so far in this stage.
        lr: the learning rate half-way through the epoch.
        seconds: wall time of the epoch with its validation.
        steps_per_second: training steps only.
        mixtures: site name -> its largest coefficient and the candidate that has it; empty outside a search.
        steps: of training, in each process; 0 in the logs of earlier versions.
        valid_loss: mean loss over the validation part; NaN in the logs of earlier versions.
        open: whether `epochs` are the most that may come, for validation has not ended the training yet.
        spent: of `seconds`, those that no step was computed in, by what they went into: `data`, `calibration` of batch
            norm, `validation`; empty in the logs of earlier versions.
    """

    stage: str
    epoch: int
    epochs: int
    loss: float
    metric: float
    best: float
    lr: float
    seconds: float
    steps_per_second: float
    mixtures: Mapping[str, tuple[float, str]] = field(default_factory=dict)
    steps: int = 0
    valid_loss: float = math.nan
    open: bool = False
    spent: Mapping[str, float] = field(default_factory=dict, compare=False)

    @property
    def counted(self) -> str:
        """Its number and how many there are, such as "3/60", or "3/<=600" where 600 are the most."""
        return f"{self.epoch + 1}{self.of}"

    @property
    def training(self) -> float:
        """Seconds of its steps: forward, backward and optimiser."""
        return max(0.0, self.seconds - sum(self.spent.values()))

    @property
    def of(self) -> str:
        return f"/{'<=' if self.open else ''}{self.epochs}"


class Observer:
    """Hears of everything and does nothing; observers override what they care about.

    Attributes:
        began: by `time.perf_counter`, when a user began to wait, where that was before the run itself: imports count.
    """

    began: float | None = None

    def stage(self, name: str, detail: str = "") -> None:
        """A stage of the pipeline begins."""

    def stage_done(self, name: str, seconds: float, detail: str = "") -> None:
        """A stage has ended."""

    def planned(self, epochs: Mapping[str, float], at_most: bool = False) -> None:
        """How many epochs each stage of the run is to have; `at_most` where some may end sooner."""

    def passed(self, result: Any) -> None:
        """A pass has run; its PassResult."""

    def step(self, stage: str, epoch: int, step: int, steps: int) -> None:
        """A training step is done; called at every step, so it must cost nothing."""

    def epoch(self, facts: Epoch) -> None:
        """An epoch is done."""

    def evaluated(self, stage: str, done: int, total: int, best: float | None) -> None:
        """A genotype or a model has been evaluated; the best value so far, None where there is none."""

    def trial(self, number: int, values: Mapping[str, Any], metric: float | None, state: str) -> None:
        """A trial of tuning has ended: its options, its metric (None where there is none), "complete" or "pruned"."""

    def note(self, text: str) -> None:
        """Something a user should know."""


class Observers(Observer):
    """Passes everything on to several observers."""

    def __init__(self, observers: Iterable[Observer]) -> None:
        self.observers = tuple(observers)
        self.began = min((each.began for each in self.observers if each.began is not None), default=None)

    def stage(self, name: str, detail: str = "") -> None:
        for each in self.observers:
            each.stage(name, detail)

    def stage_done(self, name: str, seconds: float, detail: str = "") -> None:
        for each in self.observers:
            each.stage_done(name, seconds, detail)

    def planned(self, epochs: Mapping[str, float], at_most: bool = False) -> None:
        for each in self.observers:
            each.planned(epochs, at_most)

    def passed(self, result: Any) -> None:
        for each in self.observers:
            each.passed(result)

    def step(self, stage: str, epoch: int, step: int, steps: int) -> None:
        for each in self.observers:
            each.step(stage, epoch, step, steps)

    def epoch(self, facts: Epoch) -> None:
        for each in self.observers:
            each.epoch(facts)

    def evaluated(self, stage: str, done: int, total: int, best: float | None) -> None:
        for each in self.observers:
            each.evaluated(stage, done, total, best)

    def trial(self, number: int, values: Mapping[str, Any], metric: float | None, state: str) -> None:
        for each in self.observers:
            each.trial(number, values, metric, state)

    def note(self, text: str) -> None:
        for each in self.observers:
            each.note(text)


class JsonlLog(Observer):
    """Appends a JSON object a line: {"time", "event", ...}; each line is flushed, so a killed run keeps its log.

    What happens before `write_to` names the file is kept and written then.
    """

    def __init__(self) -> None:
        self._path: Path | None = None
        self._waiting: list[str] = []

    def write_to(self, path: Path) -> None:
        self._path = path
        end_last_line(path)
        self._flush()

    def missing(self, history: Iterable[Epoch]) -> list[Epoch]:
        """The epochs that its file does not hold: a checkpoint is taken before its epoch is told."""
        known = {(epoch.stage, epoch.epoch) for epoch in epochs_in(self._path)} if self._path else None
        return [epoch for epoch in history if known is not None and (epoch.stage, epoch.epoch) not in known]

    def stage(self, name: str, detail: str = "") -> None:
        self._write("stage", name=name, detail=detail)

    def stage_done(self, name: str, seconds: float, detail: str = "") -> None:
        self._write("stage_done", name=name, seconds=round(seconds, 3), detail=detail)

    def passed(self, result: Any) -> None:
        edits = [asdict(edit) for edit in result.edits]
        self._write("pass", name=result.name, edits=edits, skips=[asdict(skip) for skip in result.skips])

    def epoch(self, facts: Epoch) -> None:
        self._write("epoch", **asdict(facts))

    def note(self, text: str) -> None:
        self._write("note", text=text)

    def _write(self, event: str, **facts: Any) -> None:
        self._waiting.append(json.dumps({"time": round(time.time(), 3), "event": event, **facts}) + "\n")
        self._flush()

    def _flush(self) -> None:
        if self._path is not None:
            with self._path.open("a", encoding="utf-8") as file:
                file.writelines(self._waiting)
            self._waiting.clear()


def end_last_line(path: Path) -> None:
    """Where a killed run left half a line, end it, so that what is appended begins a line of its own."""
    if path.exists() and path.read_bytes()[-1:] not in (b"", b"\n"):
        with path.open("a", encoding="utf-8") as file:
            file.write("\n")


def read_log(path: Path) -> list[dict[str, Any]]:
    """The events of a log; lines that are none, such as one that a killed run left unfinished, are dropped."""
    events = []
    for line in path.read_bytes().splitlines() if path.exists() else []:
        try:
            event = parse_json(line.decode())
        except ValueError:
            continue
        if isinstance(event, dict):
            events.append(event)
    return events


def epochs_in(path: Path) -> list[Epoch]:
    """The epochs of a log, in the order in which they were told."""
    known = {each.name for each in fields(Epoch)}
    told = (event for event in read_log(path) if event.get("event") == "epoch")
    return [_epoch({name: event[name] for name in known & event.keys()}) for event in told]


def _epoch(facts: Mapping[str, Any]) -> Epoch:
    mixtures = {name: (share, candidate) for name, (share, candidate) in facts["mixtures"].items()}
    return Epoch(**{**facts, "mixtures": mixtures})


QUIET = Observer()
