"""fp16 files, as ONNX Runtime's converter writes them, and what rounding to 11 bits explains of their errors."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper
from torch import Tensor

from dashfx.deploy.divergence import relative_error
from dashfx.deploy.export import folder_beside
from dashfx.deploy.quantise.qdq import batches
from dashfx.deploy.runtime import CPU, OnnxModel, load_proto
from dashfx.errors import DashfxError, first_line

logger = logging.getLogger(__name__)

FP16_KEY = "fp16"
UNIT = 2.0**-11  # half of the distance between neighbours of 1 in fp16: what rounding a number may move it by
# Rounding every weight and the inputs moves the answers by some amount. The output of each conv is rounded too, which
# is as much again, and so are those of the norm, the sum, the activation and the pooling behind it: in all a handful.
TIMES = 8
ON_A_CPU = "only on a GPU is it faster: this machine's CPU computes it in float32, between conversions"


@dataclass(frozen=True)
class Half:
    """An fp16 file beside the float one.

    Attributes:
        path: None where there is none, and `why` says why.
        error: how far its answers are from the float file's on the CPU provider, and `allowed` what rounding explains.
        metric: on the validation part, through ONNX Runtime's CPU provider; None where it was not measured.
    """

    path: Path | None
    why: str = ""
    error: float | None = None
    allowed: float | None = None
    bytes: int = 0
    float_bytes: int = 0
    metric: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON takes it; `from_dict` reads it."""
        return asdict(self) | {"path": str(self.path) if self.path else None}

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Half:
        return cls(**{**facts, "path": Path(facts["path"]) if facts["path"] else None})

    def __str__(self) -> str:
        if self.path is None:
            return f"no fp16 file: {self.why}"
        size = f"{self.bytes / 1e6:.3g} MB instead of {self.float_bytes / 1e6:.3g}"
        metric = "" if self.metric is None else f", metric on validation {self.metric:.4f}"
        return (
            f"{self.path.name}: {size}, within {self.error:.1e} of the float file on {CPU} (rounding explains "
            f"{self.allowed:.1e}){metric}; {ON_A_CPU}"
        )


def beside(path: Path) -> Path:
    """model.onnx -> model.fp16.onnx"""
    return path.with_suffix(f".fp16{path.suffix}")


def halved(path: Path, out: Path, rows: Tensor) -> Half:
    """Write `path` to `out` with weights and nodes in fp16, and float32 inputs and outputs, where that is near enough.

    Args:
        rows: inputs, as the model takes them, on which the answers are compared.
    """
    with folder_beside(out) as folder:
        draft = folder / out.name
        try:
            onnx.save(_converted(path), str(draft))
            expected = _answers(path, rows)
            error = relative_error(_answers(draft, rows), expected)
            rounded = _rounded(path, folder / "rounded.onnx")
            moved = relative_error(_answers(rounded, rows.half().float()), expected)
        except DashfxError as problem:
            found = Half(None, first_line(problem))
        except Exception as problem:  # the converter and ONNX Runtime raise many classes
            logger.debug("fp16", exc_info=True)
            found = Half(None, f"{path.name} cannot be converted ({type(problem).__name__}: {first_line(problem)})")
        else:
            allowed = TIMES * max(moved, UNIT)
            if error <= allowed:  # false for an answer that is no number
                sizes = draft.stat().st_size, path.stat().st_size
                os.replace(draft, out)
                return Half(out, "", error, allowed, *sizes)
            why = f"its answers are off by {error:.1e}, where rounding explains {allowed:.1e}"
            found = Half(None, f"{why}; some number leaves fp16's range", error, allowed)
    out.unlink(missing_ok=True)
    return found


def _converted(path: Path) -> onnx.ModelProto:
    """The file in fp16; what ONNX Runtime has no fp16 kernels of stays as it is."""
    from onnxruntime.transformers.float16 import convert_float_to_float16  # some tenths of a second

    proto = load_proto(path)
    facts = {entry.key: entry.value for entry in proto.metadata_props}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of numbers beyond fp16's range: what they do is measured
        made: onnx.ModelProto = convert_float_to_float16(proto, keep_io_types=True)
    del made.metadata_props[:]
    onnx.helper.set_model_props(made, {**facts, FP16_KEY: f"of {path.name}, float32 inputs and outputs"})
    return made


def _rounded(path: Path, out: Path) -> Path:
    """The float file with its weights rounded to fp16; those beyond its range stay, since that is no rounding."""
    proto = load_proto(path)
    for tensor in proto.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            values = numpy_helper.to_array(tensor)
            with np.errstate(over="ignore"):
                near = values.astype(np.float16).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(np.where(np.isfinite(near), near, values), tensor.name))
    onnx.save(proto, str(out))
    return out


def _answers(path: Path, rows: Tensor) -> Tensor:
    """Of the first batch that the file takes."""
    model = OnnxModel(path)
    return model.rows(next(iter(batches(rows, model))))
