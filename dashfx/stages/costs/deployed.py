"""Choices of a finished search with how they are run: budgets go in; a genotype, its file and a session come out."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from torch import nn

from dashfx.cost.base import one_row
from dashfx.cost.budgets import limits_of, read_budget
from dashfx.cost.latency.model import MeasuredLatency
from dashfx.cost.pairs import Held, first_held
from dashfx.cost.size import Size, weight_bytes
from dashfx.deploy.runtime import load_proto
from dashfx.deploy.sessions import Deployment, Deployments
from dashfx.deploy.sessions.options import FLOAT, INT8
from dashfx.deploy.targets.settings import named, session, suited, to_json
from dashfx.deploy.targets.settings import settings_of as cpu_settings
from dashfx.deploy.timing import Call, in_turn
from dashfx.errors import ConfigError
from dashfx.frontend.tracing import trace
from dashfx.genotype import Genotype
from dashfx.ops import decisions_of, sites_of
from dashfx.run.folder import write_text
from dashfx.run.run import Run
from dashfx.stages.compare import metric_of
from dashfx.stages.costs.limits import budgets_of, choices_of
from dashfx.stages.costs.mixtures import choosable
from dashfx.stages.costs.pick import asking
from dashfx.stages.export import export_whole, metadata, onnx_metric, write_onnx
from dashfx.stages.files.precise import int8_of
from dashfx.stages.files.quantise import int8_beside
from dashfx.supernet import lower
from dashfx.task import in_data_units

POINTS = 8  # choices of the search, from the one that its rule prefers to the one of the fewest multiply-adds
POOL = "macs=1x"
SECONDS = 1.0  # of calls of a file, in turn with the untouched model's
PROVIDER = "cpu"
Pair = tuple[Genotype, Deployment]


@dataclass(frozen=True)
class Deployed:
    """A choice and how it is run, as they stand in a folder.

    Attributes:
        said: what it costs beside each budget, a line each.
    """

    genotype: Genotype
    model: nn.Module
    deployment: Deployment
    path: Path
    said: tuple[str, ...]


def deployed(
    folder: str | Path,
    budgets: Sequence[str],
    deployments: Deployments,
    out: Callable[[], Path],
    data: str | None = None,
    drop: float | str | None = None,
) -> Deployed:
    """Of an earlier run's choices with each way to run them, the one that its rule prefers most within budgets.

    Files are written and measured from the best choice down, and no further than the first that holds. An int8 file
    counts as much as the float one: its metric has fallen by no more than is allowed.

    Args:
        out: gives an empty folder, for `model.onnx`, the int8 file where that is what is run, and the session's
            settings; asked once there is something to put there.
        drop: as `export.max_drop`.

    Raises:
        ConfigError: no pair holds, or the run's data are not here.
    """
    run, supernet, _ = choosable(folder, data)
    run = replace(asking(run.with_config(run.config.with_drop(drop)), budgets), limits=None)
    if run.inputs.data.raw and run.inputs.data.raw.noise:
        raise ConfigError("--deploy: files are checked on the run's data, which are not here; say where by --data")
    with TemporaryDirectory() as place:
        files = _Files(run, supernet, Path(place))
        pairs = ((point, way) for point in _points(run, supernet) for way in deployments.options())
        found = first_held(pairs, files.costs, files.most)
        if found is None or found.missed:
            raise ConfigError(_unheld(files, found, budgets))
        return files.kept(found, out())


def _points(run: Run, supernet: nn.Module) -> Iterator[Genotype]:
    """Choices of the search, those first that its rule prefers."""
    inputs, sites, training = run.inputs.for_retraining(), sites_of(supernet), run.strategy.training
    assert training is not None  # `choosable` has seen to it
    limits = limits_of([read_budget(POOL)], trace(inputs.given_model(), inputs.example), choices_of(supernet))
    scores = training.rule.preferred(sites)
    found = limits.front(scores, POINTS, decisions_of(sites))
    return iter(sorted(found, key=lambda each: -sum(scores[name][choice] for name, choice in each.items())))


class _Files:
    """Files of choices, each written once, and what they cost beside budgets."""

    def __init__(self, run: Run, supernet: nn.Module, place: Path) -> None:
        self.run, self._supernet, self._place = run.for_retraining(), supernet, place
        inputs = self.run.inputs
        program = trace(inputs.given_model(), inputs.example)
        every = budgets_of(self.run.config)
        self.timed = [each for each in every if isinstance(each.cost, MeasuredLatency)]
        self.limits = limits_of([b for b in every if b not in self.timed], program, choices_of(supernet)).each
        self._models: dict[Genotype, nn.Module] = {}
        self._made: dict[tuple[Genotype, str], Path | None] = {}
        self.refused = set[str]()  # why there is no int8 file of a choice
        self._row, self._own = one_row(program), place / "untouched.onnx"
        if self.timed:
            own = in_data_units(program.model, inputs.task.target)
            export_whole(inputs, own, {}, self._own, inputs.config.export.layout)

    @property
    def most(self) -> Mapping[str, float]:
        """Of each budget; of latency with room for measuring again, and of a share of it the share."""
        timed = {each.text: (1 - each.cost.noise) * each.limit for each in self.timed}
        return {limit.budget.text: limit.most for limit in self.limits} | timed

    def costs(self, pair: Pair) -> Mapping[str, float] | None:
        """Of a pair; what is counted comes first, as the file of what misses that need not be written."""
        genotype, way = pair
        sizes = [limit for limit in self.limits if isinstance(limit.budget.cost, Size)]
        counted = [(limit, limit.total(genotype)) for limit in self.limits if limit not in sizes]
        if not all(limit.holds(cost) for limit, cost in counted):
            return None
        path = self.file(genotype, way.precision)
        if path is None:
            return None
        counted += [(limit, float(weight_bytes(path))) for limit in sizes]
        return {limit.budget.text: cost for limit, cost in counted} | self._times(path, way)

    def _times(self, path: Path, way: Deployment) -> dict[str, float]:
        if not self.timed:
            return {}
        calls = [self._call(self._own, Deployment()), self._call(path, way)]
        own, found = map(median, in_turn(calls, SECONDS))
        return {each.text: found / own if each.share else found for each in self.timed}

    def _call(self, path: Path, way: Deployment) -> Call:
        opened = session(path, settings_of(path, way))
        feed = {opened.get_inputs()[0].name: self._row.cpu().numpy()}
        return lambda: opened.run(None, feed)

    def file(self, genotype: Genotype, precision: str) -> Path | None:
        """That of a choice; None where there is no int8 file of it worth having."""
        key = genotype, precision
        if key not in self._made:
            path = self._written(genotype)
            self._made[genotype, FLOAT] = path
            if precision == INT8:
                inputs, model = self.run.inputs, self._models[genotype]
                metrics = onnx_metric(path, inputs.data, inputs.task), metric_of(self.run, model, "valid")
                small = int8_of(self.run, path, metrics, genotype, model).file
                self._made[key] = small.path if small else None
                self.refused |= {str(small)} if small and small.path is None else set()
        return self._made[key]

    def _written(self, genotype: Genotype) -> Path:
        known = self._made.get((genotype, FLOAT))
        if known is not None:
            return known
        run, path = self.run, self._place / f"{len(self._models)}.onnx"
        model = lower(self._supernet, genotype, "inherit" if run.strategy.judges_mixtures else "own")
        self._models[genotype] = model
        write_onnx(
            run.inputs,
            model,
            metadata(run.inputs.data, run.inputs.task, genotype),
            path,
            metric_of(run, model, "valid"),
        )
        return path

    def kept(self, held: Held[Pair], out: Path) -> Deployed:
        """The pair's files in `out`, with the settings of its session."""
        genotype, way = held.pair
        files = {FLOAT: out / "model.onnx"}
        shutil.copyfile(self._written(genotype), files[FLOAT])
        if way.precision == INT8 and (small := self._made[genotype, INT8]) is not None:
            files[INT8] = int8_beside(files[FLOAT])
            shutil.copyfile(small, files[INT8])
        path = files[way.precision]
        told = replace(suited(path, named(PROVIDER)), settings=settings_of(path, way))
        write_text(out / f"session_options.{PROVIDER}.json", to_json([told]))
        return Deployed(genotype, self._models[genotype], way, path, tuple(self.said(held)))

    def said(self, held: Held[Pair]) -> list[str]:
        """What a pair costs beside each budget, a line each."""
        limits = {limit.budget.text: limit.budget for limit in self.limits} | {each.text: each for each in self.timed}
        lines = []
        for text, cost in held.costs.items():
            budget, share = limits[text], limits[text] in self.timed and limits[text].share
            found = f"{cost:.3g} times the untouched model's" if share else budget.cost.say(cost)
            lines.append(f"budget {text}: {found}, {'held' if cost <= self.most[text] else 'missed'}")
        return lines


def settings_of(path: Path, way: Deployment) -> dict[str, Any]:
    """The settings of a session on the CPU."""
    return {**cpu_settings(named(PROVIDER), load_proto(path), {}), "session_options": dict(way.session_options)}


def _unheld(files: _Files, found: Held[Pair] | None, budgets: Sequence[str]) -> str:
    said = ", ".join(budgets)
    if found is None:
        why = sorted(files.refused)[:1] or ["no choice of the search does"]
        return f"--deploy: nothing holds {said} ({why[0]}); allow more, or other precisions"
    nearest, (_, way) = "; ".join(files.said(found)), found.pair
    return f"--deploy: no choice and session hold {said}; the nearest, {way}, has {nearest}; allow more"
