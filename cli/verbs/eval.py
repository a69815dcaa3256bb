"""`dashfx eval`: the metric of an ONNX file or of a run's model on data, which are matched to it by name."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isfinite, prod
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dashfx.cli import render
from dashfx.cli.options import shared as options
from dashfx.cli.tables import shared as tables
from dashfx.errors import DataError, ExportError, TaskError
from dashfx.space import size_text

if TYPE_CHECKING:
    from dashfx.data import Data, Normalisation
    from dashfx.data.reading import Reading
    from dashfx.deploy.runtime import OnnxModel
    from dashfx.task import Task

Source = Annotated[
    Path, typer.Argument(help="a model.onnx of dashfx, or a run's folder", metavar="FILE|RUN", show_default=False)
]
Part = Annotated[
    str | None,
    typer.Option(
        help="test, valid or train; by default all rows of --data, and a run's own test part", show_default=False
    ),
]


def evaluate(
    source: Source,
    data: options.Data = None,
    part: Part = None,
    task: options.Task = None,
    seed: options.Seed = None,
) -> None:
    """Measure a model on data: through ONNX Runtime, and for a RUN in PyTorch too."""
    if source.is_dir():
        used, measured, scores = _of_run(source, data, part, task)
    else:
        used, measured, scores = _of_file(source, data, part, task, seed or 0)
    if part is not None and measured.given and part not in measured.given:
        render.note(f"{measured.name} has no {part} part of its own: it is drawn from {', '.join(measured.given)}")
    render.show(
        tables.metrics(
            used.metric_name, used.maximise, [(_label(measured, where, how), value) for where, how, value in scores]
        )
    )


Scores = list[tuple[str, str, float]]  # part, what ran the model, the metric


def _label(data: Data, part: str, how: str) -> str:
    """What was measured, with the number of rows; data that have no parts are the whole of themselves."""
    what = "whole" if data.given == (part,) == ("train",) else part
    return f"{data.name} {what}, {len(data.part(part))} rows, {how}"


def _of_run(folder: Path, spec: str | None, part: str | None, task: str | None) -> tuple[Task, Data, Scores]:
    """On the run's own data, or on other data that is read and normalised like it."""
    from dashfx.data import load_data
    from dashfx.run.folder import RunFolder
    from dashfx.stages.compare import metric_of
    from dashfx.stages.export import onnx_metric
    from dashfx.stages.measure import to_measure
    from dashfx.stages.reopen import model_of
    from dashfx.task import data_kind, load_task

    run, model, _ = model_of(folder, shape_will_do=spec is not None)
    config, known = run.config, run.inputs.data
    parts: tuple[str, ...] = (part or "test",)
    wanted = task or config.task
    inputs = run.inputs
    if wanted in (None, inputs.task.name):  # the metric may depend on more than the task's name
        wanted = f"{inputs.task.name}:{inputs.task.metric_name}"
    if spec is not None:

        def load(how: Any) -> Data:
            return load_data(
                spec,
                seed=config.seed,
                valid_fraction=config.valid_fraction,
                kind=data_kind(wanted) or known.kind,
                normalise=known.normalisation,
                reading=known.reading,
                parts=how,
                labels=known.labels,
                channels=known.channels,
            )

        data, parts = to_measure(load, part)
        inputs = replace(inputs, data=data)
    elif "valid" in parts and config.finalists.refit:
        render.note(
            "the model was trained on the validation part too (--refit): its metric there is of rows it has seen"
        )
    data = inputs.data
    data.part(parts[0])
    judged = load_task(wanted, data, target=inputs.task.target)
    judged.check(model(data.part(parts[0]).__getitems__([0])[0]), data)
    run = replace(run, inputs=replace(inputs, task=judged))
    scores: Scores = [(each, "PyTorch", metric_of(run, model, each)) for each in parts]
    paths = RunFolder(folder)
    run_here = "ONNX Runtime"
    named = {paths.onnx: run_here, paths.complete: f"{run_here}, raw rows", paths.ensemble: f"ensemble, {run_here}"}
    for file, how in named.items():
        if file.is_file():
            scores += [(each, how, onnx_metric(file, data, judged, each)) for each in parts]
    return judged, data, scores


def _of_file(file: Path, spec: str | None, part: str | None, task: str | None, seed: int) -> tuple[Task, Data, Scores]:
    """On data that is normalised as the file's metadata says."""
    from dashfx.data import load_data
    from dashfx.deploy.complete.running import CompleteModel
    from dashfx.deploy.runtime import read_metadata
    from dashfx.stages.export import onnx_metric
    from dashfx.stages.measure import to_measure
    from dashfx.task import data_kind, load_task

    if file.suffix != ".onnx" and file.is_file():
        raise ExportError(f"{file}: give an .onnx file of dashfx, or a run's folder")
    facts = read_metadata(file)
    known, wanted = Known.of(file, facts), task or known_task(file, facts)

    def load(how: Any) -> Data:
        return load_data(
            options.given(spec, options.NO_DATA),
            seed=seed,
            kind=data_kind(wanted),
            normalise=known.normalisation or False,
            reading=known.reading,
            parts=how,
            labels=known.labels,
            channels=known.channels,
        )

    model = CompleteModel(file)
    data, parts = to_measure(load, part)
    used = load_task(wanted, data, target=known.target)
    if model.facts is None or model.facts.raw is None:
        check_input(model, known.input_shape, data)
    data = model.data(data)
    used.check(model.rows(data.part(parts[0]).__getitems__([0])[0]), data)
    return used, data, [(each, "ONNX Runtime", onnx_metric(file, data, used, each)) for each in parts]


@dataclass(frozen=True)
class Known:
    """What an ONNX file says of the data that its model was trained on; what an earlier version left out is empty."""

    normalisation: Normalisation | None
    target: Normalisation | None
    reading: Reading
    labels: tuple[str, ...]
    channels: tuple[str, ...]
    input_shape: tuple[int, ...] | None

    @classmethod
    def of(cls, file: Path, facts: dict[str, str]) -> Known:
        """Raises an ExportError where a fact is damaged."""
        from dashfx.data.reading import Reading
        from dashfx.deploy.runtime import fact

        return cls(
            fact(file, facts, "normalisation", units),
            fact(file, facts, "target_normalisation", units),
            fact(file, facts, "reading", lambda read: Reading.from_json(json.dumps(read))) or Reading(),
            fact(file, facts, "labels", names) or (),
            fact(file, facts, "channels", names) or (),
            fact(file, facts, "input_shape", sizes),
        )


def known_task(file: Path, facts: dict[str, str]) -> str:
    """The task and metric that the file was made for.

    Raises:
        TaskError: a task of the user's own, which the file cannot carry.
    """
    from dashfx.task import TASKS

    name = facts.get("task", "none")
    if name not in TASKS:
        raise TaskError(f"{file}: its task is {name!r}, which is not one of dashfx's own; give --task file.py:function")
    return f"{name}:{facts['metric']}" if "metric" in facts else name


def check_input(model: OnnxModel, wanted: tuple[int, ...] | None, data: Data) -> None:
    """Raise a DataError where the data's inputs have another shape than the file takes."""
    if wanted is None:
        return
    free = model.dynamic_axes[model.inputs[0]]
    fits = len(wanted) == len(data.input_shape) and all(
        axis in free or n == m for axis, (n, m) in enumerate(zip(wanted, data.input_shape, strict=True), start=1)
    )
    if not fits:
        raise DataError(
            f"{model.path} takes inputs of {size_text(wanted)}, {data.name} has {size_text(data.input_shape)}; "
            "give data of the kind that the model was trained on"
        )


def units(facts: dict[str, Any]) -> Normalisation:
    """Raises a ValueError, KeyError or TypeError for anything but a mean and a positive deviation of each channel."""
    from dashfx.data import Normalisation

    read = Normalisation.from_dict(facts)
    fits = len(read.mean) == len(read.std) == read.channels * prod(read.size) > 0
    if not fits or not all(map(isfinite, read.mean)) or not all(isfinite(value) and value > 0 for value in read.std):
        raise ValueError("not a mean and a positive deviation of each channel")
    return read


def names(values: Sequence[str]) -> tuple[str, ...]:
    """Raises a ValueError for anything but a list of text."""
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise ValueError("not a list of names")
    return tuple(values)


def sizes(values: Sequence[int]) -> tuple[int, ...]:
    """Raises a ValueError for anything but a list of whole numbers from 1 up."""
    if not isinstance(values, list) or not all(type(value) is int and value > 0 for value in values):
        raise ValueError("not a list of sizes")
    return tuple(values)
