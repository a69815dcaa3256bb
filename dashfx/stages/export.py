"""The export stage: a finished model goes in; its ONNX file, weights, loader and summary stand in the run's folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from dashfx.data import Data
from dashfx.data.reading import Reading
from dashfx.deploy.export import VALUES, ExportReport, export
from dashfx.deploy.loader import save_weights, write_loader
from dashfx.deploy.runtime import OnnxModel
from dashfx.genotype import Genotype
from dashfx.report.models import notebook
from dashfx.report.network import network
from dashfx.report.page import write_report
from dashfx.run.folder import write_text
from dashfx.run.inputs import Inputs
from dashfx.run.portable import copy_sources, sources_of
from dashfx.run.result import Result
from dashfx.run.run import Run
from dashfx.site import Site
from dashfx.task import Task, evaluate


def write_onnx(inputs: Inputs, model: nn.Module, genotype: Genotype, path: Path) -> tuple[ExportReport, float]:
    """Export `model` to `path`, checked; then the metric on the validation part through ONNX Runtime.

    Raises:
        ExportError, VerifyError: as `dashfx.export`.
    """
    options = inputs.config.export
    report = export(
        model,
        inputs.example,
        path,
        metadata=metadata(inputs.data, inputs.task, genotype),
        opset=options.opset,
        dynamic_size=options.dynamic_size,
        tolerance=options.tolerance,
        seed=inputs.config.seed,
    )
    return report, onnx_metric(path, inputs.data, inputs.task)


def onnx_metric(path: Path, data: Data, task: Task, part: str = "valid", batch_size: int = 64) -> float:
    """The task's metric over a part, with ONNX Runtime in PyTorch's place."""
    return evaluate(OnnxModel(path).rows, data.loader(part, batch_size), task)


def metadata(data: Data, task: Task, genotype: Genotype) -> dict[str, str]:
    """What the ONNX file says of itself beside its versions."""
    facts = {
        "task": task.name,
        "metric": task.metric_name,
        "input_shape": json.dumps(data.input_shape),
        "normalisation": json.dumps(data.normalisation.to_dict()),
        "labels": json.dumps(data.labels),
        "genotype": genotype.to_json(),
    }
    facts |= {"reading": data.reading.to_json()} if data.reading != Reading() else {}
    return facts | ({"target_normalisation": json.dumps(task.target.to_dict())} if task.target else {})


def data_facts(data: Data, task: Task) -> dict[str, Any]:
    """What `data.json` holds: what a program needs to feed the model and to read its outputs."""
    return {
        "name": data.name,
        "kind": data.kind,
        "input_shape": data.input_shape,
        "output_shape": data.output_shape,
        "labels": data.labels,
        "normalisation": data.normalisation.to_dict(),
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
        copy_sources(inputs.source.files, inputs.source.home, folder.root)
        copy_sources(sources_of(inputs.config), None, folder.root)
    run.session.wait()


def exported(
    run: Run, model: nn.Module, genotype: Genotype, sites: Mapping[str, Site]
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
        write_loader(folder.loader, model, inputs.fresh_model(), source.spec, source.args, names=names)
        report, valid = write_onnx(inputs, model, genotype, folder.onnx)
        if VALUES in report.notes:
            run.note(f"export: {VALUES}")
    return report, valid


def finished(run: Run, result: Result) -> Result:
    """The result with all that only the whole run tells, and its summary and page in the run's folder."""
    ledger, folder = run.ledger, run.session.writes
    result = replace(
        result,
        seconds=ledger.seconds,
        memory=ledger.memory,
        history=ledger.history,
        evaluations=ledger.evaluations,
        notes=ledger.notes,
        folder=folder.root if folder else None,
        network=network(run.inputs, result) if folder else None,
    )
    result = replace(result, html=notebook(result))
    if folder:
        write_text(folder.result, json.dumps(result.to_dict(), indent=2) + "\n")
        write_report(folder.report, result, run.config, run.inputs.data)
    run.session.wait()
    return result
