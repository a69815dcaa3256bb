"""`dashfx export`: a run's folder or a load_model.py goes in; a checked ONNX file comes out."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dashfx.cli import options, render
from dashfx.cli.verbs.eval import sizes
from dashfx.errors import ConfigError, DashfxError, ExportError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from dashfx.run.inputs import Inputs

BESIDE = {"load_ensemble.py": "ensemble.onnx"}  # by the loader's name; every other stands beside model.onnx
CARRIED = (
    *("task", "metric", "input_shape", "normalisation", "reading", "labels", "channels", "genotype"),
    *("target_normalisation", "target_normalisation_undone", "ensemble"),
)

Source = Annotated[
    Path,
    typer.Argument(
        help="a run's folder, or a load_model.py (naming one runs it)", metavar="RUN|FILE", show_default=False
    ),
]
Out = Annotated[Path | None, typer.Option(help="the ONNX file; by default model.onnx in or beside the source")]
Opset = Annotated[int | None, typer.Option(help="ONNX opset, 18 to 20")]
Static = Annotated[bool, typer.Option("--static", help="fix the input size; the batch stays free")]
Input = Annotated[str | None, typer.Option(help="for a load_model.py: the shape of one input, such as 3x32x32")]


def export(
    source: Source,
    out: Out = None,
    opset: Opset = None,
    static: Static = False,
    input: Input = None,
    int8: options.Int8 = None,
    data: options.MovedData = None,
    quiet: options.Quiet = False,
) -> None:
    """Write the model of RUN as ONNX again, checked against PyTorch."""
    from dashfx.deploy.export import export as export_model

    if int8 and not source.is_dir():
        raise ConfigError(
            f"--int8 with {source}: ranges are told from training data, which a file has none of; give the run's folder"
        )
    path = out or (source / "model.onnx" if source.is_dir() else beside(source))
    if not path.parent.is_dir():
        raise ExportError(f"--out {path}: no such folder: {path.parent}")
    if path.is_dir():
        raise ExportError(f"--out {path}: it is a folder; name the file, such as {path / 'model.onnx'}")
    settings: dict[str, Any] = {"opset": opset} if opset else {}
    if source.is_dir():
        inputs, model, facts, settings = _from_run(source, settings, data, needs_data=bool(int8))
        example = inputs.example
    else:
        model, example, facts = _from_loader(source, input)
    if static:
        settings["dynamic_size"] = False
    report = export_model(model, example, path, metadata=facts, **settings)
    if not quiet:
        render.line(str(report))
    if int8:
        _write_int8(inputs, path, quiet)


def _write_int8(inputs: Inputs, path: Path, quiet: bool) -> None:
    from dashfx.stages.export import onnx_metric
    from dashfx.stages.quantise import quantised

    found = quantised(inputs, path, onnx_metric(path, inputs.data, inputs.task))
    if not quiet:
        render.line(f"int8: {found}")


def _from_run(
    folder: Path, settings: dict[str, Any], data: str | None, needs_data: bool
) -> tuple[Inputs, nn.Module, dict[str, str], dict[str, Any]]:
    """The run's inputs, the trained model, what the file says of itself, and the run's export options."""
    from dashfx.stages.export import metadata, real_rows
    from dashfx.stages.reopen import model_of
    from dashfx.task import in_data_units

    run, model, genotype = model_of(folder, data, shape_will_do=not needs_data)
    inputs = run.inputs
    options = {"rows": real_rows(inputs.data), "seed": run.config.seed}
    settings = {**run.config.export.model_dump(exclude={"int8", "max_drop"}), **options, **settings}
    model = in_data_units(model, inputs.task.target)
    return inputs, model, metadata(inputs.data, inputs.task, genotype), settings


def _from_loader(file: Path, shape: str | None) -> tuple[nn.Module, Tensor, dict[str, str]]:
    """What `load()` of the file returns; shape and facts come from --input and from a model.onnx beside it."""
    import torch

    from dashfx.data import Normalisation
    from dashfx.deploy.runtime import fact
    from dashfx.stages.export import UNDONE
    from dashfx.task import in_data_units

    model, facts = load(file), _facts_beside(file)
    model = in_data_units(model, fact(beside(file), facts, UNDONE, Normalisation.from_dict))
    if shape is None and "input_shape" not in facts:
        raise ConfigError(
            f"no input: give its shape, such as --input 3x32x32 (no {beside(file).name} of dashfx stands beside it)"
        )
    size = options.shape(shape) if shape else fact(beside(file), facts, "input_shape", sizes)
    return model, torch.randn(2, *(size or ()), generator=torch.Generator().manual_seed(0)), facts


def beside(loader: Path) -> Path:
    """The ONNX file of what a loader rebuilds."""
    return loader.with_name(BESIDE.get(loader.name, "model.onnx"))


def load(file: Path) -> nn.Module:
    """The model that a generated load_model.py rebuilds; this runs the file.

    Raises:
        ExportError: no such file, or not one that dashfx wrote.
    """
    if not file.is_file():
        raise ExportError(f"no such run folder or file: {file}")
    if file.suffix != ".py":
        raise ExportError(f"{file}: give a run's folder, or the load_model.py in it")
    function = runpy.run_path(str(file)).get("load")
    if function is None:
        raise ExportError(f"{file} has no load(): give a load_model.py that dashfx wrote")
    try:
        model: nn.Module = function()
    except TypeError as error:
        raise ExportError(
            f"{file}: its load() needs the untouched model ({error}); call dashfx.export from Python"
        ) from None
    except SystemExit as error:  # how a generated file says that the model's source is gone
        raise ExportError(f"{file}: {error}") from None
    return model


def _facts_beside(file: Path) -> dict[str, str]:
    """The metadata of the ONNX file in the same folder, without the versions of what wrote it."""
    from dashfx.deploy.runtime import read_metadata

    try:
        facts = read_metadata(beside(file))
    except DashfxError:
        return {}
    return {key: facts[key] for key in CARRIED if key in facts}
