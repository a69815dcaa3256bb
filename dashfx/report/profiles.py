"""Performance profiles over tasks, from folders of finished runs, and how each method stands on each task.

A performance profile (Dolan and More, 2002) of a method is the share of tasks on which its error is at most tau times
the lowest error of any method there.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from scipy.stats import rankdata

from dashfx.config.run import RunConfig
from dashfx.errors import RunFolderError
from dashfx.run.folder import RunFolder, existing_folder

By = Literal["strategy", "folder"]


@dataclass(frozen=True)
class Score:
    """One trained model of one run, by its metric on the test part."""

    task: str
    method: str
    seed: int
    value: float
    metric: str
    maximise: bool
    folder: Path

    @property
    def error(self) -> float:
        """The metric as something to lower: itself, or what a share misses to 1."""
        return 1 - self.value if self.maximise else self.value


@dataclass(frozen=True)
class Cell:
    """A method on a task: mean and standard deviation (n - 1) of the metric over `n` seeds, and the mean error."""

    mean: float
    deviation: float | None
    n: int
    error: float


@dataclass(frozen=True)
class Standings:
    """Every method on every task.

    Attributes:
        tasks: task -> its metric, such as "accuracy (higher is better)".
        cells: (task, method) -> what its runs gave; a pair without runs is not there.
    """

    tasks: Mapping[str, str]
    methods: tuple[str, ...]
    cells: Mapping[tuple[str, str], Cell]

    @property
    def missing(self) -> list[tuple[str, str]]:
        return [(task, method) for task in self.tasks for method in self.methods if (task, method) not in self.cells]

    def ratios(self, task: str) -> list[float]:
        """Each method's error over the lowest one of the task; infinite where it has no runs."""
        errors = self._errors(task)
        best = min(errors)
        return [1.0 if error == best else error / best if best > 0 else math.inf for error in errors]

    def ranks(self, task: str) -> list[float]:
        """Each method's rank by error, from 1; equal ones share the mean of theirs, those without runs come last."""
        return [float(rank) for rank in rankdata(self._errors(task))]

    def profile(self, method: str, taus: Iterable[float]) -> list[float]:
        """The share of tasks on which the method's error is at most tau times the lowest."""
        column = self.methods.index(method)
        ratios = [self.ratios(task)[column] for task in self.tasks]
        return [sum(ratio <= tau for ratio in ratios) / len(ratios) for tau in taus]

    def _errors(self, task: str) -> list[float]:
        found = [self.cells.get((task, method)) for method in self.methods]
        return [cell.error if cell else math.inf for cell in found]


def standings(paths: Sequence[Path], by: By = "strategy") -> Standings:
    """How the methods of all runs in or below `paths` stand.

    Args:
        by: "strategy" tells the methods "untouched", "random" and "searched"; "folder" takes the name of the run's
            folder without its seed.

    Raises:
        RunFolderError: no finished run, or runs that cannot stand in one table.
    """
    found = [score for folder in run_folders(paths) for score in scores(folder, by)]
    _check(found)
    tasks = {s.task: f"{s.metric} ({'higher' if s.maximise else 'lower'} is better)" for s in found}
    methods = tuple(dict.fromkeys(s.method for s in sorted(found, key=_order)))
    groups: dict[tuple[str, str], list[Score]] = {}
    for score in found:
        groups.setdefault((score.task, score.method), []).append(score)
    return Standings(tasks, methods, {pair: _cell(group) for pair, group in groups.items()})


def run_folders(paths: Iterable[Path]) -> list[Path]:
    """The folders of finished runs among `paths` and below.

    Raises:
        RunFolderError: there is none.
    """
    paths = list(paths)
    found = sorted({file.parent for path in paths for file in path.rglob("result.json")})
    found = [folder for folder in found if (folder / "config.yaml").is_file()]
    if not found:
        raise RunFolderError(f"no finished run in {', '.join(map(str, paths))}: give folders that --out named")
    return found


def scores(path: Path, by: By = "strategy") -> Iterator[Score]:
    """The models of a run: the one that its method made and, by strategy, its controls.

    Raises:
        RunFolderError: its result cannot be read, or its metric is missing or gives no ratio.
    """
    folder, config = existing_folder(path)
    facts = read_json(folder.result)
    if {"metric", "maximise", "test"} - facts.keys():
        raise RunFolderError(f"{folder.result} is not a result of dashfx search; leave the folder out")
    own = config.search.kind if config.search.is_control else "searched"
    values = {name: model["test"] for name, model in facts.get("models", {}).items()} or {own: facts["test"]}
    if by == "folder":
        values = {_stem(path.name, config.seed): values.get(own, next(iter(values.values())))}
    for method, value in values.items():
        score = Score(_task(folder, config), method, config.seed, value, facts["metric"], facts["maximise"], path)
        _check_value(score)
        yield score


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        RunFolderError: it cannot be read, or is something else.
    """
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunFolderError(f"{path} cannot be read: {error}; run the search again, or leave the folder out") from None
    if not isinstance(facts, dict):
        raise RunFolderError(f"{path} is no JSON object; leave the folder out")
    return facts


def _stem(name: str, seed: int) -> str:
    return name.removesuffix(f"-{seed}") or name


def _task(folder: RunFolder, config: RunConfig) -> str:
    if folder.data.is_file():
        return str(read_json(folder.data)["name"])
    return Path(config.data or folder.root.parent.name).stem


def _check_value(score: Score) -> None:
    where = f"{score.folder}: {score.metric} of the {score.method} model on the test part"
    if score.value is None or math.isnan(score.value):
        raise RunFolderError(f"{where} is missing (the part lacks a class?); leave the folder out")
    if score.error < 0:
        raise RunFolderError(f"{where} is {score.value:g}, which gives no ratio of errors; leave the folder out")


def _check(found: Sequence[Score]) -> None:
    """One metric a task, and one run a method and seed.

    Raises:
        RunFolderError: two runs that are in each other's way, both named.
    """
    metrics: dict[str, Score] = {}
    seeds: dict[tuple[str, str, int], Score] = {}
    for score in found:
        first = metrics.setdefault(score.task, score)
        if first.metric != score.metric:
            raise RunFolderError(
                f"{score.task}: {first.folder} has {first.metric}, {score.folder} has {score.metric}; give runs of one"
            )
        twin = seeds.setdefault((score.task, score.method, score.seed), score)
        if twin is not score:
            raise RunFolderError(
                f"{twin.folder} and {score.folder} are both {score.method!r} on {score.task} with seed {score.seed}; "
                "leave one out, or tell methods by their folders' names with --method folder"
            )


def _order(score: Score) -> tuple[int, str]:
    """Controls first, so that tables and colours are the same everywhere."""
    known = ("untouched", "random", "searched")
    return (known.index(score.method) if score.method in known else len(known)), score.method


def _cell(group: Sequence[Score]) -> Cell:
    values = [score.value for score in group]
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return Cell(statistics.mean(values), deviation, len(values), statistics.mean(score.error for score in group))
