"""Files of one trained model: as torch.onnx.export writes it, as dashfx does, and in int8 by dashfx and by others."""

from __future__ import annotations

import importlib.util
import io
import tempfile
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quant_pre_process, quantize_static
from torch import Tensor, nn

import dashfx
from benchmarks.deploy.tasks import Task, measured
from dashfx.deploy.layout.choose import LAYOUT_KEY
from dashfx.deploy.quantise.choose import Judge, quantise, split
from dashfx.deploy.runtime import OnnxModel, read_metadata

CALIBRATION = 256  # rows of the training part, for whoever quantises
PLAIN, OURS, OURS_INT8 = "plain", "ours", "ours int8"
ORT, ORT_U8, NNCF = "ORT int8", "ORT int8 (u8)", "NNCF int8"


def written(model: nn.Module, task: Task, folder: Path) -> tuple[dict[str, Path], dict[str, str]]:
    """The files that are there in the end by their names, and what is said of them or of why one is missing."""
    paths = {name: folder / f"{name.replace(' ', '-')}.onnx" for name in (PLAIN, OURS, OURS_INT8, ORT, ORT_U8, NNCF)}
    row, rows, said = task.train[0][:1], task.train[0][:CALIBRATION], {}
    export_plainly(model, row, paths[PLAIN])
    report = dashfx.export(model, row, paths[OURS], rows=task.valid[0][:8], dynamic_size=False)
    said[OURS] = report.layout
    bare = folder / "bare.onnx"
    dashfx.export(model, row, bare, rows=task.valid[0][:8], dynamic_size=False, layout="off")
    others = {"without the layout of the float file": bare} if LAYOUT_KEY in read_metadata(paths[OURS]) else {}
    said[OURS_INT8] = str(
        quantise(paths[OURS], paths[OURS_INT8], *split(rows), judge(paths[OURS], task), others=others)
    )
    for name, kind in ((ORT, QuantType.QInt8), (ORT_U8, QuantType.QUInt8)):
        said |= _tried(name, lambda kind=kind, out=paths[name]: by_ort(paths[PLAIN], out, rows, kind))
    said |= _tried(NNCF, lambda: by_nncf(paths[PLAIN], paths[NNCF], rows))
    return {name: path for name, path in paths.items() if path.is_file()}, said


def export_plainly(model: nn.Module, row: Tensor, path: Path) -> None:
    """What torch does when nothing but the model, a row and the name of the file is given; one file, without prints."""
    with redirect_stdout(io.StringIO()):
        torch.onnx.export(model, (row,), str(path), external_data=False, verbose=False)


def judge(path: Path, task: Task) -> Judge:
    """As `dashfx export --int8` judges: a drop of one standard error on the validation part is allowed."""
    before, error = measured(OnnxModel(path).rows, task, task.valid)
    return Judge(
        lambda file: measured(OnnxModel(file).rows, task, task.valid)[0], before, True, error, "one standard error"
    )


class Rows(CalibrationDataReader):
    """One row after the other, as the plain file takes them."""

    def __init__(self, name: str, rows: Tensor) -> None:
        self._feeds: Iterator[dict[str, np.ndarray]] = ({name: row[None].numpy()} for row in rows)

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._feeds, None)


def by_ort(path: Path, out: Path, rows: Tensor, activations: QuantType) -> None:
    """ONNX Runtime's recipe: prepare, then static quantisation, QDQ, by channel; else its own defaults (min-max)."""
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(io.StringIO()):
        ready = Path(folder, "ready.onnx")
        quant_pre_process(path, ready)
        name = onnx.load(str(ready)).graph.input[0].name
        options: dict[str, Any] = {"quant_format": QuantFormat.QDQ, "per_channel": True}
        quantize_static(ready, out, Rows(name, rows), activation_type=activations, **options)


def by_nncf(path: Path, out: Path, rows: Tensor) -> None:
    """NNCF's post-training quantisation of an ONNX model by its defaults.

    Raises:
        ImportError: it is not installed.
    """
    if importlib.util.find_spec("nncf") is None:
        raise ImportError("nncf is not installed")
    import nncf

    proto = onnx.load(str(path))
    name = proto.graph.input[0].name
    data = nncf.Dataset(list(rows), lambda row: {name: row[None].numpy()})
    onnx.save(nncf.quantize(proto, data, subset_size=len(rows)), str(out))


def _tried(name: str, make: Callable[[], None]) -> dict[str, str]:
    """What a rival says where it stops: it raises what it likes, and the others are measured all the same."""
    try:
        make()
    except Exception as error:
        return {name: f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"}
    return {}
