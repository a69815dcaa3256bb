"""The quantise stage: the ONNX file of a run goes in; beside it an int8 file, or one line why there is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torch import Tensor

from dashfx.deploy.quantise.choose import Int8, Judge, quantise, split
from dashfx.deploy.runtime import OnnxModel
from dashfx.run.inputs import Inputs
from dashfx.stages.export import BATCH, judged, onnx_metric
from dashfx.task.spread import standard_error

ROWS = 256  # of the training part: three of four tell ranges, the others judge how


def int8_beside(path: Path) -> Path:
    """model.onnx -> model.int8.onnx"""
    return path.with_suffix(f".int8{path.suffix}")


def quantised(inputs: Inputs, path: Path, before: float) -> Int8:
    """Write `path` as int8 beside it, where that is worth it.

    Args:
        before: the metric of `path` on the validation part.
    """
    return quantise(path, int8_beside(path), *ranging_rows(inputs), judge_of(inputs, path, before))


def judge_of(inputs: Inputs, path: Path, before: float) -> Judge:
    """What int8 files of `path` are worth on the validation part, and how much worse they may be."""
    data, options = inputs.data, inputs.config.export
    limit, why = options.max_drop, "export.max_drop"
    if limit is None:
        task = judged(OnnxModel(path), inputs.task)
        limit = standard_error(OnnxModel(path).rows, data.loader("valid", BATCH), task)
        why = "one standard error of the metric"
    return Judge(lambda file: onnx_metric(file, data, inputs.task), before, inputs.task.maximise, limit, why)


def ranging_rows(inputs: Inputs) -> tuple[Tensor, Tensor]:
    """Rows of the training part: those that tell ranges, and those that judge how."""
    train = inputs.data.train
    picked = np.linspace(0, len(train) - 1, min(len(train), ROWS)).astype(int)
    rows, _ = train.__getitems__(picked.tolist())
    return split(rows)
