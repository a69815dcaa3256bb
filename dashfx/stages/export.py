"""A finished model and its run go in; the files of the run folder come out, each checked before it stands there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from dashfx.blackbox.base import Row
from dashfx.cost.counts import parameters_of
from dashfx.cost.latency import Figures
from dashfx.data import Data
from dashfx.data.reading import Reading
from dashfx.deploy.export import VALUES, ExportReport, export
from dashfx.deploy.loader import save_weights, write_loader
from dashfx.deploy.runtime import OnnxModel
from dashfx.drawing.html import snippet, tag
from dashfx.drawing.kernels import choices
from dashfx.frontend.tracing import trace
from dashfx.genotype import Genotype
from dashfx.report.models import metric, models_table
from dashfx.report.network import Network, network_of
from dashfx.report.page import write_report
from dashfx.run.folder import RunFolder, write_text
from dashfx.run.run import Run
from dashfx.site import Site, Skip
from dashfx.supernet import specialise
from dashfx.task import OutputError, Task, evaluate, in_data_units, output_errors
from dashfx.train.progress import Epoch
from dashfx.tune import Tuned

UNDONE = "target_normalisation_undone"  # the units of the PyTorch model's outputs, which the file's graph undoes


@dataclass(frozen=True)
class Control:
    """The searched model against the untouched one after the same training, on the validation part."""

    searched: float
    untouched: float
    kept: str  # "searched" or "untouched"
    genotype: Genotype  # what the search had chosen, also where it was not kept

    def __str__(self) -> str:
        return f"validation: searched {self.searched:.4f}, untouched {self.untouched:.4f}; {self.kept} is kept"


@dataclass
class Result:
    """What a run found.

    Attributes:
        model: the lowered, retrained model: torch.nn only, the user's class, on the CPU, in eval mode.
        valid, test: the task's metric of `model` on the validation and the test part.
        control: how the untouched model did; None where it was not trained. `genotype` and `model` are those kept.
        onnx_valid: the metric on the validation part through ONNX Runtime; None without an `out` folder.
        outputs: of a regression of several numbers, the test part's errors number by number, in the data's units.
        models: the figures of each model that was trained: "searched", and the controls "untouched" and "random".
        seconds, memory: wall time and peak bytes per stage.
        history: every epoch of search and retraining.
        evaluations: the rows of a black-box search or a warm start, in order.
        tuned: the options of retraining that tuning found, and its trials; None where nothing was tuned.
        network: what feeds what and how far each conv sees; None without an `out` folder.
        folder: the run's folder, or None.
    """

    genotype: Genotype
    model: nn.Module
    task: Task
    valid: float
    test: float
    sites: dict[str, Site] = field(default_factory=dict)
    skips: tuple[Skip, ...] = ()
    control: Control | None = None
    onnx_valid: float | None = None
    exported: ExportReport | None = None
    outputs: tuple[OutputError, ...] = ()
    models: dict[str, Figures] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    memory: dict[str, int] = field(default_factory=dict)
    history: list[Epoch] = field(default_factory=list)
    evaluations: list[Row[Genotype]] = field(default_factory=list)
    tuned: Tuned | None = None
    notes: list[str] = field(default_factory=list)
    network: Network | None = None
    folder: Path | None = None

    @property
    def chosen(self) -> Genotype:
        """What the search chose, also where the untouched model was handed back in its place."""
        return self.control.genotype if self.control else self.genotype

    def _repr_html_(self) -> str:
        """The models and the search's choices, as the report has them, for a notebook."""
        line = f"{self.task.metric_name}: validation {metric(self.valid)}, test {metric(self.test)}"
        own = {name: self.sites[name].original for name in self.chosen if name in self.sites}
        where = f"; the report is {self.folder / 'report.html'}" if self.folder else ""
        return snippet(tag("p", line + where), models_table(self), choices(self.chosen, own))

    def to_dict(self) -> dict[str, Any]:
        """What `result.json` holds."""
        return {
            "metric": self.task.metric_name,
            "maximise": self.task.maximise,
            "valid": self.valid,
            "test": self.test,
            "onnx_valid": self.onnx_valid,
            "outputs": [asdict(each) for each in self.outputs],
            "control": self.control and {"searched": self.control.searched, "untouched": self.control.untouched},
            "kept": self.control.kept if self.control else None,
            "tuned": dict(self.tuned.values) if self.tuned else None,
            "finals": asdict(self.tuned.finals) if self.tuned and self.tuned.finals else None,
            "models": {name: figures.to_dict() for name, figures in self.models.items()},
            "parameters": parameters_of(self.model),
            "rule": self.genotype.rule,
            "export": self.exported.to_dict() if self.exported else None,
            "seconds": {name: round(seconds, 2) for name, seconds in self.seconds.items()},
            "memory": self.memory,
            "notes": self.notes,
        }


def write_onnx(run: Run, model: nn.Module, genotype: Genotype, path: Path) -> tuple[ExportReport, float]:
    """Export `model` to `path`, checked; then the metric on the validation part through ONNX Runtime.

    Raises:
        ExportError, VerifyError: as `dashfx.export`.
    """
    options = run.config.export
    report = export(
        in_data_units(model, run.task.target),
        run.example,
        path,
        metadata=metadata(run.data, run.task, genotype),
        opset=options.opset,
        dynamic_size=options.dynamic_size,
        tolerance=options.tolerance,
        seed=run.config.seed,
    )
    if VALUES in report.notes:
        run.note(f"export: {VALUES}")
    return report, onnx_metric(path, run.data, run.task)


def onnx_metric(path: Path, data: Data, task: Task, part: str = "valid", batch_size: int = 64) -> float:
    """The task's metric over a part, with ONNX Runtime in PyTorch's place."""
    model = OnnxModel(path)
    if "target_normalisation" not in model.metadata:  # files of earlier versions leave the data's units to the reader
        task = task.exported or task
    return evaluate(model.rows, data.loader(part, batch_size), task)


def metadata(data: Data, task: Task, genotype: Genotype) -> dict[str, str]:
    """What the ONNX file says of itself beside its versions."""
    facts = {
        "task": task.name,
        "metric": task.metric_name,
        "input_shape": json.dumps(data.input_shape),
        "normalisation": json.dumps(data.normalisation.to_dict()),
        "labels": json.dumps(data.labels),
        "channels": json.dumps(data.channels),
        "genotype": genotype.to_json(),
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
        "target_normalisation": task.target and task.target.to_dict(),
        "rows": {part: len(data.part(part)) for part in ("train", "valid", "test")},
        "notes": data.notes,
    }


def write_outputs(run: Run, folder: RunFolder, result: Result) -> None:
    """Genotype, data's facts, weights, loader and ONNX file; `result` learns what ONNX Runtime said."""
    write_text(folder.data, json.dumps(data_facts(run.data, run.task), indent=2) + "\n")
    write_text(folder.genotype, result.genotype.to_json())
    save_weights(result.model, folder.weights)
    spec = run.source.spec
    if run.source.file is not None:
        shutil.copy2(run.source.file, folder.root / run.source.file.name)
    write_loader(
        folder.loader,
        result.model,
        run.fresh_model(),
        spec,
        run.source.args,
        names=_searched(result.genotype, result.sites),
    )
    result.exported, result.onnx_valid = write_onnx(run, result.model, result.genotype, folder.onnx)
    if run.task.kind == "dense" and run.data.n_outputs > 1:
        predict, task = OnnxModel(folder.onnx).rows, run.task.exported or run.task
        result.outputs = output_errors(predict, run.data.loader("test", 64), task, run.data)


def network(run: Run, result: Result) -> Network:
    """What feeds what in the model, and how far each conv sees before and after the search's choices."""
    model, example = run.start_model(), run.example
    searched = result.model if result.chosen == result.genotype else specialise(model, example, result.chosen, "fresh")
    return network_of(trace(model, example), trace(searched, example))


def write_summary(run: Run, folder: RunFolder, result: Result) -> None:
    """`result.json`, and the report for people."""
    result.network = network(run, result)
    write_text(folder.result, json.dumps(result.to_dict(), indent=2) + "\n")
    write_report(folder.report, result, run.config, run.data)


def _searched(genotype: Genotype, sites: dict[str, Site]) -> Iterable[str]:
    return [name for name in genotype if name in sites]
