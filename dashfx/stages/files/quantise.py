"""The quantise stage: the ONNX file of a run goes in; beside it an int8 file, or one line why there is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torch import Tensor, nn

from dashfx.deploy.export import folder_beside
from dashfx.deploy.layout.choose import LAYOUT_KEY
from dashfx.deploy.quantise.choose import Int8, Judge, quantise, split
from dashfx.deploy.runtime import OnnxModel, read_metadata
from dashfx.errors import ExportError, VerifyError
from dashfx.run.inputs import Inputs
from dashfx.stages.export import BATCH, export_whole, judged, onnx_metric
from dashfx.task import in_data_units
from dashfx.task.spread import standard_error

ROWS = 256  # of the training part: three of four tell ranges, the others judge how


def int8_beside(path: Path) -> Path:
    """model.onnx -> model.int8.onnx"""
    return path.with_suffix(f".int8{path.suffix}")


def quantised(inputs: Inputs, path: Path, judge: Judge, model: nn.Module) -> Int8:
    """Write `path` as int8 beside it, where that is worth it; or the graph as it was before layouts were chosen.

    Args:
        model: what `path` holds, to write it in another form too.
    """
    with folder_beside(path) as folder:
        others = as_exported(inputs, model, path, folder)
        return quantise(path, int8_beside(path), *ranging_rows(inputs), judge, others=others)


def as_exported(inputs: Inputs, model: nn.Module, path: Path, folder: Path) -> dict[str, Path]:
    """What to say of it -> the file without what its layout rewrites, in `folder`; empty where nothing was rewritten.

    Layouts are kept where they make the float file faster, and some of them make an int8 file slower.
    """
    facts = dict(read_metadata(path))
    if not facts.pop(LAYOUT_KEY, ""):
        return {}
    bare = folder / f"bare-{path.name}"
    try:
        export_whole(inputs, in_data_units(model, inputs.task.target), facts, bare, "off")
    except (ExportError, VerifyError):  # the file that is there was written another way, and stays what there is
        return {}
    return {"without the layout of the float file": bare}


def judge_of(inputs: Inputs, path: Path, before: float, pytorch: float | None = None) -> Judge:
    """What int8 files are worth on the validation part, and how much worse than the float file they may be.

    Args:
        path: the float file, and `before` its metric there; `pytorch` that of the PyTorch model.
    """
    data, task = inputs.data, inputs.task

    def error() -> float:
        return standard_error(OnnxModel(path).rows, data.loader("valid", BATCH), judged(OnnxModel(path), task))

    limit, why = inputs.config.export.drop(error)
    return Judge(lambda file: onnx_metric(file, data, task), before, task.maximise, limit, why, pytorch)


def ranging_rows(inputs: Inputs) -> tuple[Tensor, Tensor]:
    """Rows of the training part: those that tell ranges, and those that judge how."""
    train = inputs.data.train
    picked = np.linspace(0, len(train) - 1, min(len(train), ROWS)).astype(int)
    rows, _ = train.__getitems__(picked.tolist())
    return split(rows)
