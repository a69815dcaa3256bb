"""`dashfx export`: a run's folder or a load_model.py goes in; a checked ONNX file comes out."""

from __future__ import annotations

import runpy
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dashfx.cli import render
from dashfx.cli.options import files as export_options
from dashfx.cli.options import shared as options
from dashfx.cli.verbs.eval import sizes
from dashfx.errors import ConfigError, DashfxError, ExportError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from dashfx.genotype import Genotype
    from dashfx.run.inputs import Inputs
    from dashfx.run.run import Run

BESIDE = {"load_ensemble.py": "ensemble.onnx"}  # by the loader's name; every other stands beside model.onnx
OF_RUN = {  # what needs a run's folder, and why
    "--int8": "ranges are told from training data, which a file has none of",
    "--fp16": "its answers are checked on rows of the run's data",
    "--preprocess": "how raw rows become inputs stands in the run's data.json",
    "--postprocess": "what outputs mean stands in the run's data.json",
    "--max": "a share is of the untouched model, which the run's folder knows",
}
CARRIED = (
    *("task", "metric", "input_shape", "normalisation", "reading", "labels", "channels", "genotype"),
    *("target_normalisation", "target_normalisation_undone", "ensemble"),
)

Source = Annotated[
    Path,
    typer.Argument(
        help="a run's folder, or a load_model.py (naming one runs it); for --for and --optimised also an .onnx file",
        metavar="RUN|FILE",
        show_default=False,
    ),
]
For = Annotated[
    list[str] | None,
    typer.Option(
        "--for",
        help="check the files against a provider and write its settings: cpu, cuda, tensorrt, openvino, coreml, qnn",
        metavar="PROVIDER",
        show_default=False,
    ),
]
Optimised = Annotated[
    bool, typer.Option("--optimised", help="also write files that are optimised for this machine and bound to it")
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
    int8: export_options.Int8 = None,
    max_drop: export_options.MaxDrop = None,
    fp16: export_options.Fp16 = None,
    preprocess: export_options.Preprocess = None,
    postprocess: export_options.Postprocess = None,
    max: options.Max = None,
    providers: For = None,
    optimised: Optimised = False,
    data: options.MovedData = None,
    quiet: options.Quiet = False,
) -> None:
    """Write the model of RUN as ONNX again, checked against PyTorch.

    What the file costs is told beside RUN's budgets, and beside those of --max.
    """
    needs_run = dict(zip(OF_RUN, (int8, fp16, preprocess, postprocess, max), strict=True))
    _check_asked(source, needs_run, {"--for": providers, "--optimised": optimised}, providers)
    drop, show = export_options.asked_drop(max_drop, int8), (lambda text: None) if quiet else render.line
    if source.suffix == ".onnx" and not source.is_dir():
        files = [source]
    else:
        path = _path(source, out)
        wanted = (bool(int8), bool(fp16), bool(preprocess), bool(postprocess))
        files = _written(source, path, opset, static, input, wanted, drop, tuple(max or ()), data, show)
    for file in files if optimised else ():
        _write_optimised(file, show)
    for name in providers or ():
        _write_settings(name, files, show)


def _check_asked(
    source: Path, of_run: Mapping[str, Any], of_file: Mapping[str, Any], providers: Sequence[str] | None
) -> None:
    """Whether the source has what is asked for; nothing is read or written before.

    Raises:
        ConfigError: it has not, or no such provider.
    """
    asked = [name for name, wanted in of_run.items() if wanted]
    if asked and not source.is_dir():
        raise ConfigError(f"{asked[0]} with {source}: {OF_RUN[asked[0]]}; give the run's folder")
    if source.suffix == ".onnx" and not source.is_dir() and not any(of_file.values()):
        raise ConfigError(f"{source} is exported already; say --for PROVIDER or --optimised, or give the run's folder")
    for name in providers or ():
        from dashfx.deploy.targets.settings import named

        named(name)


def _path(source: Path, out: Path | None) -> Path:
    path = out or (source / "model.onnx" if source.is_dir() else beside(source))
    if not path.parent.is_dir():
        raise ExportError(f"--out {path}: no such folder: {path.parent}")
    if path.is_dir():
        raise ExportError(f"--out {path}: it is a folder; name the file, such as {path / 'model.onnx'}")
    return path


def _written(
    source: Path,
    path: Path,
    opset: int | None,
    static: bool,
    input: str | None,
    wanted: tuple[bool, bool, bool, bool],
    drop: float | str | None,
    budgets: tuple[str, ...],
    data: str | None,
    show: Callable[[str], None],
) -> list[Path]:
    """The files that were written.

    Args:
        wanted: whether int8, fp16, preprocessing and postprocessing are.
        drop: how much worse the int8 file may be, where that is not as the run says.
        budgets: beside those of the run.
    """
    from dashfx.deploy.export import export as export_model
    from dashfx.stages.costs.pick import held_to
    from dashfx.stages.export import metadata

    settings: dict[str, Any] = {"opset": opset} if opset else {}
    int8, half, *around = wanted
    inputs, beside_budgets = None, None
    if source.is_dir():
        run, model, genotype, settings = _from_run(source, settings, data, needs_data=int8)
        run = run.with_config(run.config.with_drop(drop))
        inputs, facts = run.inputs, metadata(run.inputs.data, run.inputs.task, genotype)
        example, whole = inputs.example, _in_data_units(inputs, model)
        beside_budgets = held_to(run, genotype, budgets)
        if any(around):
            _check_around(inputs, *around)
    else:
        model, example, facts = _from_loader(source, input)
        whole = model
    if static:
        settings["dynamic_size"] = False
    report = export_model(whole, example, path, metadata=facts, **settings)
    show(str(report))
    files = [path]
    if inputs is not None and int8 and (small := _write_int8(run, model, genotype, path, show)):
        files.append(small)
    for each in beside_budgets(model, files[-1] if genotype.bits else path) if beside_budgets else ():
        show(each.sentence)
    if inputs is not None and any(around):
        from dashfx.stages.files.complete import complete_files

        for found in complete_files(inputs, model, files, *around):
            show(f"complete: {found}")
            files.append(found.path)
    if inputs is not None and half and (fast := _write_fp16(inputs, path, show)):
        files.append(fast)
    return files


def _check_around(inputs: Inputs, preprocess: bool, postprocess: bool) -> None:
    from dashfx.stages.files.complete import check_meaning, raw_form

    if preprocess:
        raw_form(inputs)
    if postprocess:
        check_meaning(inputs)


def _in_data_units(inputs: Inputs, model: nn.Module) -> nn.Module:
    from dashfx.task import in_data_units

    return in_data_units(model, inputs.task.target)


def _write_optimised(file: Path, show: Callable[[str], None]) -> None:
    from dashfx.deploy.targets.optimised import beside, optimise

    facts = optimise(file, beside(file))
    machine = facts["machine"]
    show(
        f"optimised: {beside(file).name}, for {facts['provider']} of ONNX Runtime {machine['onnxruntime']} on "
        f"{machine['processor']} alone; within {facts['error']:.1e} of {file.name}"
    )


def _write_settings(name: str, files: Sequence[Path], show: Callable[[str], None]) -> None:
    from dashfx.deploy.targets.settings import named, suited, to_json
    from dashfx.run.folder import write_text

    found = [suited(file, named(name)) for file in files]
    path = files[0].with_name(f"session_options.{name}.json")
    write_text(path, to_json(found))
    show("\n".join([*map(str, found), f"settings: {path}"]))


def _write_int8(run: Run, model: nn.Module, genotype: Genotype, path: Path, show: Callable[[str], None]) -> Path | None:
    """The int8 file, where one was kept: with the convs in int8 that the run has chosen, if it has."""
    from dashfx.stages.compare import metric_of
    from dashfx.stages.export import onnx_metric
    from dashfx.stages.files.precise import int8_of

    metrics = onnx_metric(path, run.inputs.data, run.inputs.task), metric_of(run, model, "valid")
    found = int8_of(run, path, metrics, genotype, model).file
    show(f"int8: {found}")
    return found.path if found else None


def _write_fp16(inputs: Inputs, path: Path, show: Callable[[str], None]) -> Path | None:
    from dashfx.stages.files.half import fp16_beside

    found = fp16_beside(inputs, path)
    show(f"fp16: {found}")
    return found.path


def _from_run(
    folder: Path, settings: dict[str, Any], data: str | None, needs_data: bool
) -> tuple[Run, nn.Module, Genotype, dict[str, Any]]:
    """The run, the trained model, its choices, and the run's export options."""
    from dashfx.stages.export import real_rows
    from dashfx.stages.reopen import model_of

    run, model, genotype = model_of(folder, data, shape_will_do=not needs_data)
    inputs = run.inputs
    options = {"rows": real_rows(inputs.data), "seed": run.config.seed}
    settings = {
        **run.config.export.model_dump(include={"opset", "dynamic_size", "tolerance", "layout"}),
        **options,
        **settings,
    }
    return run, model, genotype, settings


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
