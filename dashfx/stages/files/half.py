"""Half precision, the stage: the ONNX file of a run goes in; beside it an fp16 file, or one line why there is none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from dashfx.cost.files import FileFigures, figures_of
from dashfx.deploy.half.fp16 import Half, beside, halved
from dashfx.deploy.quantise.choose import Int8
from dashfx.run.inputs import Inputs
from dashfx.run.run import Run
from dashfx.stages.export import onnx_metric, real_rows


def fp16(run: Run) -> Half | None:
    """That of the run's folder, where one is asked for; None without a folder."""
    folder = run.session.writes
    if folder is None or not run.config.export.fp16:
        return None
    with run.stage("fp16"):
        return fp16_beside(run.inputs, folder.onnx)


def fp16_beside(inputs: Inputs, path: Path) -> Half:
    """Write `path` in fp16 beside it, checked on rows of the validation part, with its metric there."""
    found = halved(path, beside(path), real_rows(inputs.data))
    if found.path is None or _is_noise(inputs):
        return found
    return replace(found, metric=onnx_metric(found.path, inputs.data, inputs.task))


def compared_files(run: Run, before: float | None, small: Int8 | None, half: Half | None) -> tuple[FileFigures, ...]:
    """The files of the run's folder side by side, where there is more than the float one.

    Args:
        before: the float file's metric on the validation part.
    """
    folder = run.session.writes
    more: Mapping[Path, tuple[str, float | None]] = {
        **({small.path: ("int8", small.metric)} if small and small.path else {}),
        **({half.path: ("fp16", half.metric)} if half and half.path else {}),
    }
    if folder is None or before is None or not more:
        return ()
    files = {folder.onnx: ("float32", before)} | {p: (said, m) for p, (said, m) in more.items() if m is not None}
    valid = run.inputs.data.valid
    picked = np.linspace(0, len(valid) - 1, run.config.retrain.batch_size).astype(int)
    rows, _ = valid.__getitems__(picked.tolist())
    with run.stage("files", f"{len(files)} of them"):
        return figures_of(files, rows)


def _is_noise(inputs: Inputs) -> bool:
    """Whether noise stands in for the run's data, which are not here."""
    return inputs.data.raw is not None and inputs.data.raw.noise
