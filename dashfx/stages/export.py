"""Export, the stage: a finished model's ONNX file, weights, loader and summary in the run's folder."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from dashfx.data import Data
from dashfx.data.raw import form_of_finished
from dashfx.data.reading import Reading
from dashfx.deploy.complete.running import CompleteModel
from dashfx.deploy.export import VALUES, ExportReport, export
from dashfx.deploy.loader import save_weights, write_loader
from dashfx.deploy.programs import predict
from dashfx.deploy.runtime import OnnxModel
from dashfx.deploy.samples import REAL_ROWS
from dashfx.deploy.verify import differing_rows
from dashfx.errors import VerifyError
from dashfx.genotype import Genotype
from dashfx.report.warnings import ONNX_GAP
from dashfx.run.files.portable import code_files, copy_model, copy_sources
from dashfx.run.folder import write_text
from dashfx.run.inputs import Inputs
from dashfx.run.run import Run
from dashfx.site import Site
from dashfx.stages.costs.limits import timed
from dashfx.task import Task, evaluate, in_data_units

PROGRAM = Path(predict.__file__)  # copied as it is
OPENING = '"""Predictions of the model in this folder'
UNDONE = "target_normalisation_undone"  # the units of the PyTorch model's outputs, which the file's graph undoes


BATCH = 64  # rows that ONNX Runtime answers at once


def write_onnx(
    inputs: Inputs, model: nn.Module, facts: Mapping[str, str], path: Path, valid: float
) -> tuple[ExportReport, float]:
    """Export `model` to `path`, checked; then the metric on the validation part through ONNX Runtime.

    Args:
        facts: what the file says of itself, see `metadata`.
        valid: the model's metric on that part.

    Raises:
        ExportError, VerifyError: as `dashfx.export`; or the metric is another than `valid`, see `check_metric`.
    """
    whole = in_data_units(model, inputs.task.target)
    report = export_whole(inputs, whole, facts, path, inputs.config.export.layout)
    through_onnx = onnx_metric(path, inputs.data, inputs.task)
    check_metric(inputs, whole, path, valid, through_onnx)
    return report, through_onnx


def export_whole(inputs: Inputs, whole: nn.Module, facts: Mapping[str, str], path: Path, layout: str) -> ExportReport:
    """`dashfx.export` by the options of the run.

    Args:
        whole: the model, with answers in the data's units.
        layout: as there.
    """
    options = inputs.config.export
    return export(
        whole,
        inputs.example,
        path,
        metadata=facts,
        rows=real_rows(inputs.data),
        opset=options.opset,
        dynamic_size=options.dynamic_size,
        tolerance=options.tolerance,
        seed=inputs.config.seed,
        layout=layout,
    )


def check_metric(inputs: Inputs, model: nn.Module, path: Path, valid: float, through_onnx: float) -> None:
    """Hold the metric through ONNX Runtime against PyTorch's.

    A gap alone is no fault: on few rows a single near-tie moves a metric, and under `amp` PyTorch's is that of half
    precision. So where there is one, the answers themselves are compared, row by row and in float32.

    Raises:
        VerifyError: there is a gap, and answers differ on more than one row and one row in a hundred.
    """
    same = valid == through_onnx or (math.isnan(valid) and math.isnan(through_onnx))
    if same or abs(valid - through_onnx) <= ONNX_GAP * abs(valid):
        return
    batches = (x for x, _ in inputs.data.loader("valid", BATCH))
    differing, rows = differing_rows(model, OnnxModel(path), batches, inputs.config.export.tolerance)
    if differing > max(1, rows / 100):
        metric = inputs.task.metric_name
        raise VerifyError(
            f"{path}: on the validation part ONNX Runtime gives {metric} {through_onnx:.4g} and PyTorch "
            f"{valid:.4g}, with other answers on {differing} of {rows} rows; look for a forward that depends on the "
            "input's values, and do not use the file"
        )


def real_rows(data: Data) -> Tensor:
    """Some rows of the validation part, from all over it: what the model's ONNX file is checked on beside noise."""
    count = min(len(data.valid), REAL_ROWS)
    picked = np.linspace(0, len(data.valid) - 1, count).astype(int)
    x, _ = data.valid.__getitems__(picked.tolist())
    return x


def onnx_metric(path: Path, data: Data, task: Task, part: str = "valid", batch_size: int = BATCH) -> float:
    """The task's metric over a part, with ONNX Runtime in PyTorch's place."""
    model = CompleteModel(path)
    return evaluate(model.rows, model.data(data).loader(part, batch_size), judged(model, task))


def judged(model: OnnxModel, task: Task) -> Task:
    """The task in the units of the file's outputs; files of earlier versions leave the data's units to the reader."""
    return task if "target_normalisation" in model.metadata else task.exported or task


def metadata(data: Data, task: Task, genotype: Genotype) -> dict[str, str]:
    """What the ONNX file says of itself beside its versions."""
    facts = {
        "task": task.name,
        "metric": task.metric_name,
        "input_shape": json.dumps(data.input_shape),
        "normalisation": json.dumps(data.normalisation.to_dict()),
        "labels": json.dumps(data.labels),
        "channels": json.dumps(data.channels),
        "kind": json.dumps(data.kind),
        "raw": json.dumps((data.raw or form_of_finished(data)).to_dict()),
        "genotype": genotype.with_bits({}).to_json(),  # which of its nodes are in int8 a file shows by itself
    }
    facts |= {"reading": data.reading.to_json()} if data.reading != Reading() else {}
    return facts | ({UNDONE: json.dumps(task.target.to_dict())} if task.target else {})


def data_facts(data: Data, task: Task) -> dict[str, Any]:
    """What `data.json` holds: what a program needs to feed the model and to read its outputs."""
    return {
        "name": data.name,
        "kind": data.kind,
        "input_shape": data.input_shape,
        "output_shape": data.output_shape,
        "labels": data.labels,
        "channels": data.channels,
        "normalisation": data.normalisation.to_dict(),
        "reading": json.loads(data.reading.to_json()),
        "raw": (data.raw or form_of_finished(data)).to_dict(),
        "target_normalisation": task.target and task.target.to_dict(),
        "rows": {part: len(data.part(part)) for part in ("train", "valid", "test")},
        "notes": data.notes,
    }


def opened(run: Run, out: str | Path) -> None:
    """The run's folder, in which data's facts and the user's sources stand from the start: a folder stands alone."""
    run.open_folder(out)
    if folder := run.session.writes:
        inputs = run.inputs
        write_text(folder.data, json.dumps(data_facts(inputs.data, inputs.task), indent=2) + "\n")
        copy_model(inputs.source, folder.root)
        copy_sources(code_files(inputs.config), None, folder.root)
        if (times := timed(run)) is not None:
            times.save(folder.latency)
    run.session.wait()


def exported(
    run: Run, model: nn.Module, genotype: Genotype, sites: Mapping[str, Site], valid: float
) -> tuple[ExportReport | None, float | None]:
    """Data's facts, weights, loader and ONNX file in the run's folder; what the export said, None without a folder.

    Returns:
        the report, and the metric on the validation part through ONNX Runtime.
    """
    folder, inputs = run.session.writes, run.inputs
    if folder is None:
        return None, None
    with run.stage("export"):
        write_text(folder.data, json.dumps(data_facts(inputs.data, inputs.task), indent=2) + "\n")
        write_text(folder.genotype, genotype.to_json())
        save_weights(model, folder.weights)
        source, names = inputs.source, [name for name in genotype if name in sites]
        reference, grown = inputs.fresh_model(), genotype.is_grown or inputs.config.retrain.transfer
        given, widths = (source.spec, source.args), bool(genotype.widths)
        write_loader(folder.loader, model, reference, *given, names=names, grown=grown, widths=widths)
        if not is_users(folder.predict):
            write_text(folder.predict, PROGRAM.read_text(encoding="utf-8"))
        report, valid = write_onnx(inputs, model, metadata(inputs.data, inputs.task, genotype), folder.onnx, valid)
        if VALUES in report.notes:
            run.note(f"export: {VALUES}")
    return report, valid


def is_users(path: Path) -> bool:
    """Whether a copy of a user's source stands there, which the model may need under that name."""
    return path.is_file() and not path.read_text(encoding="utf-8", errors="replace").startswith(OPENING)
