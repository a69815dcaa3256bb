"""Networks of known quality go in; the proxy task whose scores order them best, found by evolution, comes out."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from dashfx.blackbox.base import History, Row, best_of, optimise
from dashfx.blackbox.genomes import Space
from dashfx.blackbox.optimisers.evolution import Evolution
from dashfx.errors import ProxyError
from dashfx.proxy.base import Batch
from dashfx.proxy.correlation import LEAST, Correlation, correlate
from dashfx.proxy.gennas.score import GenNAS
from dashfx.proxy.gennas.signals import BANDS, KINDS
from dashfx.proxy.gennas.tasks import NOISES, Noise, Signal, Stage, Task
from dashfx.proxy.scoring import Model, rank

LEVELS = (0.25, 0.5, 1.0)
SHARES = (0.25, 0.5, 0.75, 1.0)
CHANNELS = (16, 32, 48, 64)
WEIGHTS = (0.25, 0.5, 1.0)  # of the stages, from the first to the last
REGENERATED = 0.2


class TaskSpace(Space[Task]):
    """Tasks of blocks: the noise, and for each stage its channels and five signals, each absent or present.

    A mutation draws each block anew with probability 0.2, as the authors of GenNAS do.
    """

    def sample(self, generator: torch.Generator) -> Task:
        draw = _Draw(generator)
        while True:
            task = _task(
                draw.noise(), [(draw.of(CHANNELS), {kind: draw.signal(kind) for kind in KINDS}) for _ in WEIGHTS]
            )
            if task:
                return task

    def mutate(self, genome: Task, generator: torch.Generator) -> Task:
        draw = _Draw(generator)
        while True:
            noise = draw.noise() if draw.struck() else genome.noise
            stages = []
            for stage in genome.stages:
                channels = draw.of(CHANNELS) if draw.struck() else stage.channels
                old = {signal.kind: signal for signal in stage.signals}
                stages.append((channels, {k: draw.signal(k) if draw.struck() else old.get(k) for k in KINDS}))
            task = _task(noise, stages)
            if task and task != genome:
                return task

    def encode(self, genome: Task) -> Any:
        return json.loads(genome.to_json())

    def decode(self, facts: Any) -> Task:
        return Task.from_json(json.dumps(facts))


class _Draw:
    """Uniform draws of a task's blocks."""

    def __init__(self, generator: torch.Generator) -> None:
        self._generator = generator

    def of(self, choices: Sequence[Any]) -> Any:
        return choices[int(torch.randint(len(choices), (), generator=self._generator))]

    def struck(self) -> bool:
        return float(torch.rand((), generator=self._generator)) < REGENERATED

    def noise(self) -> Noise:
        kind = self.of(NOISES)
        return Noise() if kind == "none" else Noise(kind, self.of(LEVELS))

    def signal(self, kind: str) -> Signal | None:
        """Present half of the time; what a kind does not use stays at its default, so that equal tasks are equal."""
        if not self.of((False, True)):
            return None
        signal = Signal(kind, level=self.of(LEVELS))
        if kind == "resize":
            return signal
        signal = replace(signal, local=self.of((False, True)))
        if kind.startswith("sin"):
            return replace(signal, frequencies=self.of(tuple(BANDS)))
        return replace(signal, share=self.of(SHARES))


def _task(noise: Noise, stages: Sequence[tuple[int, Mapping[str, Signal | None]]]) -> Task | None:
    """The task, or None where it would ask nothing of a series."""
    made = tuple(
        Stage(tuple(signal for signal in signals.values() if signal), weight, channels)
        for (channels, signals), weight in zip(stages, WEIGHTS, strict=True)
    )
    return Task("searched", made, noise) if any(stage.used(1) for stage in made) else None


@dataclass(frozen=True)
class KnownNetworks:
    """Networks whose quality is known.

    Attributes:
        models: by name, each a module or a function that builds it.
        results: larger is better.
    """

    models: Mapping[str, Model]
    results: Mapping[str, float]

    def split(self, held_out: float, seed: int) -> tuple[KnownNetworks, KnownNetworks]:
        """The pairs to search with and those that only judge what was found, at least three of each.

        Raises:
            ProxyError: fewer than six pairs.
        """
        names = sorted(self.models)
        if len(names) < 2 * LEAST:
            raise ProxyError(f"{len(names)} known results: give {2 * LEAST} or more, {LEAST} of them are held out")
        order = torch.randperm(len(names), generator=torch.Generator().manual_seed(seed)).tolist()
        cut = min(max(LEAST, round(held_out * len(names))), len(names) - LEAST)
        return self._of([names[i] for i in order[cut:]]), self._of([names[i] for i in order[:cut]])

    def _of(self, names: Sequence[str]) -> KnownNetworks:
        return KnownNetworks({name: self.models[name] for name in names}, {name: self.results[name] for name in names})


@dataclass(frozen=True)
class Found:
    """A task and how well it orders networks.

    Attributes:
        rho: Spearman's, over the pairs that it was searched with.
        held_out: over the others.
        combo: of the task "combo" over the others, to compare with.
    """

    task: Task
    rho: float
    held_out: Correlation
    combo: Correlation
    rows: tuple[Row[Task], ...]

    def to_json(self) -> str:
        """The task as `load_task` reads it, with what was found of it."""
        held = self.held_out
        found = {
            "rho": self.rho,
            "held_out": {"n": held.n, "rho": held.rho, "interval": held.rho_interval},
            "combo_held_out": {"rho": self.combo.rho, "interval": self.combo.rho_interval},
            "evaluations": len(self.rows),
        }
        return json.dumps({**json.loads(self.task.to_json()), "found": found}, indent=2) + "\n"


@dataclass(frozen=True)
class Options:
    """How a task is searched; the authors' settings; the share of known networks that is held out is ours."""

    evaluations: int = 450
    population: int = 50
    tournament: int = 10
    held_out: float = 0.3
    iterations: int = 100
    seed: int = 0
    workers: int = 1


def search_task(
    known: KnownNetworks,
    batch: Batch,
    options: Options,
    history: Path | None = None,
    on_row: Callable[[Row[Task]], None] = lambda row: None,
) -> Found:
    """The task with the largest Spearman correlation between its scores and the known results.

    The sign counts: a task that orders networks the wrong way round is worth less than chance.

    Args:
        batch: inputs, the same for every network and every task.
        history: a file of rows; one that is there already is continued.

    Raises:
        ProxyError: fewer than six known results, or results that are all the same.
        RunFolderError: a history of another search.
    """
    train, rest = known.split(options.held_out, options.seed)
    for part in (train, rest):
        correlate(list(part.results.values()), list(part.results.values()), resamples=1)  # refuses constant results
    space = TaskSpace()
    generator = torch.Generator().manual_seed(options.seed)

    def rhos(tasks: Sequence[Task]) -> list[float]:
        return [correlation_of(task, train, batch, options, resamples=1).rho for task in tasks]

    rows = optimise(
        Evolution(options.population, options.tournament).begin(space, generator),
        rhos,
        options.evaluations,
        maximise=True,
        history=History(history, space),
        on_row=on_row,
    )
    best = best_of(rows)
    if best.value is None:
        raise ProxyError("every task gave all networks the same score: check that they differ, and the batch")
    held_out = correlation_of(best.genome, rest, batch, options)
    return Found(best.genome, best.value, held_out, correlation_of("combo", rest, batch, options), tuple(rows))


def correlation_of(
    task: Task | str, known: KnownNetworks, batch: Batch, options: Options, resamples: int = 1000
) -> Correlation:
    """How well GenNAS with this task orders the known networks."""
    proxy = GenNAS(task, options.seed, options.iterations)
    ranking = rank(known.models, batch, [proxy], options.workers, options.seed)
    scores = ranking.better(proxy.name)
    names = list(known.results)
    return correlate([scores[name] for name in names], [known.results[name] for name in names], resamples)
