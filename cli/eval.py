"""`dashfx eval`: an ONNX file or a run's folder, and data, go in; the task's metric on a part of the data is shown."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dashfx.cli import options, render, tables
from dashfx.errors import DataError, ExportError, TaskError
from dashfx.space import size_text

if TYPE_CHECKING:
    from dashfx.data import Data
    from dashfx.deploy.runtime import OnnxModel
    from dashfx.task import Task

Source = Annotated[
    Path, typer.Argument(help="a model.onnx of dashfx, or a run's folder", metavar="FILE|RUN", show_default=False)
]
Part = Annotated[str, typer.Option(help="test, valid or train")]


def evaluate(
    source: Source,
    data: options.Data = None,
    part: Part = "test",
    task: options.Task = None,
    seed: options.Seed = None,
) -> None:
    """Measure a model on a part of the data: through ONNX Runtime, and for a RUN in PyTorch too."""
    if source.is_dir():
        used, name, scores = _of_run(source, data, part, task)
    else:
        used, name, scores = _of_file(source, data, part, task, seed or 0)
    render.show(
        tables.metrics(used.metric_name, used.maximise, [(f"{name} {part}, {how}", value) for how, value in scores])
    )


Scores = list[tuple[str, float]]


def _of_run(folder: Path, spec: str | None, part: str, task: str | None) -> tuple[Task, str, Scores]:
    """On the run's own data, or on other data that is read and normalised like it."""
    from dashfx.data import load_data
    from dashfx.run.folder import RunFolder
    from dashfx.stages.export import onnx_metric
    from dashfx.stages.finalists import metric_of
    from dashfx.stages.reopen import model_of
    from dashfx.task import data_kind, load_task

    run, model, _ = model_of(folder, shape_will_do=spec is not None)
    config = run.config
    wanted = task or config.task
    inputs = run.inputs
    if spec is not None:
        data = load_data(
            spec,
            seed=config.seed,
            valid_fraction=config.valid_fraction,
            kind=data_kind(wanted) or inputs.data.kind,
            normalise=inputs.data.normalisation,
            reading=inputs.data.reading,
        )
        inputs = replace(inputs, data=data)
    inputs.data.part(part)
    inputs = replace(inputs, task=load_task(wanted, inputs.data, target=inputs.task.target))
    inputs.task.check(model(inputs.example), inputs.data)
    run = replace(run, inputs=inputs)
    scores = [("PyTorch", metric_of(run, model, part))]
    file = RunFolder(folder).onnx
    if file.is_file():
        scores.append(("ONNX Runtime", onnx_metric(file, inputs.data, inputs.task, part)))
    return inputs.task, inputs.data.name, scores


def _of_file(file: Path, spec: str | None, part: str, task: str | None, seed: int) -> tuple[Task, str, Scores]:
    """On data that is normalised as the file's metadata says."""
    from dashfx.data import Normalisation, load_data
    from dashfx.data.reading import Reading
    from dashfx.deploy.runtime import OnnxModel, read_metadata
    from dashfx.stages.export import onnx_metric
    from dashfx.task import data_kind, load_task

    if file.suffix != ".onnx" and file.is_file():
        raise ExportError(f"{file}: give an .onnx file of dashfx, or a run's folder")
    facts = read_metadata(file)
    wanted = task or known_task(file, facts)
    units = {
        name: Normalisation.from_dict(json.loads(facts[name]))
        for name in ("normalisation", "target_normalisation")
        if name in facts
    }
    data = load_data(
        options.given(spec, options.NO_DATA),
        seed=seed,
        kind=data_kind(wanted),
        normalise=units.get("normalisation", False),
        reading=Reading.from_json(facts["reading"]) if "reading" in facts else Reading(),
    )
    used, model = load_task(wanted, data, target=units.get("target_normalisation")), OnnxModel(file)
    check_input(model, facts, data)
    used.check(model.rows(data.part(part).__getitems__([0])[0]), data)
    return used, data.name, [("ONNX Runtime", onnx_metric(file, data, used, part))]


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


def check_input(model: OnnxModel, facts: dict[str, str], data: Data) -> None:
    """Raise a DataError where the data's inputs have another shape than the file takes."""
    if "input_shape" not in facts:
        return
    wanted, free = json.loads(facts["input_shape"]), model.dynamic_axes[model.inputs[0]]
    fits = len(wanted) == len(data.input_shape) and all(
        axis in free or n == m for axis, (n, m) in enumerate(zip(wanted, data.input_shape, strict=True), start=1)
    )
    if not fits:
        raise DataError(
            f"{model.path} takes inputs of {size_text(wanted)}, {data.name} has {size_text(data.input_shape)}; "
            "give data of the kind that the model was trained on"
        )
