"""A name or a JSON file goes in; a proxy task comes out: which signals each stage regresses, its weight, the noise."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Generator, Tensor

from dashfx.errors import ProxyError, did_you_mean
from dashfx.proxy.gennas.signals import BANDS, GRIDS, KINDS, SYNTHETIC, Grid, resize

NOISES = ("none", "gaussian", "uniform")


def _one_of(what: str, name: str, known: Any, more: str = "") -> None:
    if name not in known:
        there = ", ".join([*known, *([more] if more else [])])
        raise ProxyError(f"no {what} {name!r}{did_you_mean(str(name), known)}; there are {there}")


@dataclass(frozen=True)
class Signal:
    """One summand of a stage's target.

    Attributes:
        kind: one of `signals.KINDS`.
        level: factor on the maps.
        frequencies: band of the sines: "low", "medium" or "high".
        share: of the cells that dots fill, above 0 up to 1.
        local: drawn for each image, or once for the batch; "resize" differs between images by nature.
    """

    kind: str
    level: float = 1.0
    frequencies: str = "high"
    share: float = 1.0
    local: bool = True

    def __post_init__(self) -> None:
        _one_of("signal", self.kind, KINDS)
        _one_of("band of frequencies", self.frequencies, BANDS)
        if not (math.isfinite(self.level) and 1 / 64 <= self.share <= 1):
            raise ProxyError(f"signal {self.kind!r}: level {self.level}, share {self.share}; give a share of 1/64 to 1")

    def maps(self, batch: Tensor, channels: int, grid: Grid, generator: Generator) -> Tensor:
        """(rows or 1, channels, *grid) for a batch on the CPU; of the batch all but "resize" need its rows only."""
        if self.kind == "resize":
            return self.level * resize(batch, channels, grid, generator)
        setting = {"band": self.frequencies} if self.kind.startswith("sin") else {"share": self.share}
        return self.level * SYNTHETIC[self.kind](len(batch) if self.local else 1, channels, grid, generator, **setting)


@dataclass(frozen=True)
class Stage:
    """What one tap regresses: the sum of its signals on `channels` maps; `weight` is its share of loss and score."""

    signals: tuple[Signal, ...]
    weight: float
    channels: int = 64

    def __post_init__(self) -> None:
        if not (math.isfinite(self.weight) and self.weight >= 0 and self.channels >= 1):
            raise ProxyError(f"stage of weight {self.weight}, {self.channels} channels: give 0 or more and at least 1")

    def used(self, ndim: int) -> tuple[Signal, ...]:
        """The signals that exist on `ndim` axes: a series has no second axis for Sin2D."""
        return tuple(s for s in self.signals if ndim == 2 or s.kind != "sin2d")


@dataclass(frozen=True)
class Noise:
    """What is added to the input, drawn anew at each iteration; `level` is its standard deviation."""

    kind: str = "none"
    level: float = 0.0

    def __post_init__(self) -> None:
        _one_of("noise", self.kind, NOISES)
        if not (math.isfinite(self.level) and self.level >= 0):
            raise ProxyError(f"noise of level {self.level}: give a standard deviation of 0 or more")


@dataclass(frozen=True)
class Task:
    """A proxy task: three stages, from the first tap to the last; networks with fewer taps use the last stages."""

    name: str
    stages: tuple[Stage, ...]
    noise: Noise = Noise()

    def __post_init__(self) -> None:
        if len(self.stages) != 3 or not any(stage.weight > 0 and stage.signals for stage in self.stages):
            raise ProxyError(
                f"proxy task {self.name!r}: give three stages, at least one of them with a weight above 0 and a signal"
            )

    def targets(self, batch: Tensor, seed: int) -> list[Tensor | None]:
        """Each stage's target (batch, channels, *grid) in float32 on the CPU; None where nothing is to be learned.

        A function of the batch and the seed alone, and of each stage on its own: stages do not share random draws.
        """
        batch = batch.detach().to("cpu", torch.float32)
        return [_target(stage, batch, seed * len(self.stages) + i) for i, stage in enumerate(self.stages)]

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2)

    @staticmethod
    def from_json(text: str, where: str = "proxy task") -> Task:
        """What `to_json` wrote; the key "found", in which a search tells how good the task is, is left alone.

        Raises:
            ProxyError: no JSON, an unknown or missing key, or a value that cannot be.
        """
        try:
            raw = json.loads(text)
        except json.JSONDecodeError as error:
            raise ProxyError(f"{where}: no JSON ({error}); write one with Task.to_json()") from None
        stages = tuple(_stage(stage, where) for stage in _list(raw, "stages", where))
        noise = _build(Noise, raw.get("noise", {}), where)
        rest = {key: value for key, value in raw.items() if key != "found"}
        return _build(Task, {**rest, "stages": stages, "noise": noise}, where)


def _target(stage: Stage, batch: Tensor, seed: int) -> Tensor | None:
    signals = stage.used(batch.ndim - 2)
    if not stage.weight or not signals:
        return None
    generator = torch.Generator().manual_seed(seed)
    grid = GRIDS[batch.ndim - 2]
    maps = [signal.maps(batch, stage.channels, grid, generator) for signal in signals]
    return torch.stack([m.expand(len(batch), *m.shape[1:]) for m in maps]).sum(0)


def _sines(band_1: str, band_2: str | None = None) -> tuple[Signal, ...]:
    return (Signal("sin1d", frequencies=band_1), *([Signal("sin2d", frequencies=band_2)] if band_2 else []))


SINGLE = Task("single", (Stage((), 0.0), Stage((), 0.0), Stage((Signal("dot"),), 1.0)))
COMBO = Task(
    "combo",
    (
        Stage((*_sines("high", "high"), Signal("dot")), 0.25),
        Stage((*_sines("high", "medium"), Signal("resize")), 0.5),
        Stage((*_sines("high"), Signal("dot"), Signal("resize")), 1.0),
    ),
)
TASKS = {"single": SINGLE, "combo": COMBO}


def load_task(source: Task | str | Path) -> Task:
    """A task itself, by its name, or from a JSON file.

    Raises:
        ProxyError: no such name or file, or a file that holds no task.
    """
    if isinstance(source, Task):
        return source
    if str(source) in TASKS:
        return TASKS[str(source)]
    path = Path(source)
    if path.suffix != ".json":
        _one_of("proxy task", str(source), TASKS, "or a .json file")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ProxyError(f"proxy task {str(path)!r} cannot be read: {error}") from None
    return Task.from_json(text, f"proxy task {str(path)!r}")


Fact = TypeVar("Fact", Signal, Stage, Noise, Task)


def _stage(raw: Any, where: str) -> Stage:
    signals = tuple(_build(Signal, signal, where) for signal in _list(raw, "signals", where))
    return _build(Stage, {**raw, "signals": signals}, where)


def _list(raw: Any, key: str, where: str) -> list[Any]:
    if not isinstance(raw, dict) or not isinstance(raw.get(key), list):
        raise ProxyError(f"{where}: expected an object with a list {key!r}; write one with Task.to_json()")
    return raw[key]


def _build(kind: type[Fact], raw: Any, where: str) -> Fact:
    known = [field.name for field in fields(kind)]
    if not isinstance(raw, dict):
        raise ProxyError(f"{where}: a {kind.__name__.lower()} is an object with {', '.join(known)}, not {raw!r}")
    for key in raw:
        if key not in known:
            raise ProxyError(f"{where}: {kind.__name__.lower()} has no {key!r}{did_you_mean(key, known)}")
    try:
        return kind(**raw)
    except TypeError as error:  # a missing key, or a value of another type in a comparison
        raise ProxyError(f"{where}: {kind.__name__.lower()} {raw}: {error}") from None
