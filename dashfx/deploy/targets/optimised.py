"""Files that ONNX Runtime has optimised for one machine, and the fact that binds them to it."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

from dashfx.deploy.export import folder_beside
from dashfx.deploy.runtime import CPU, load_proto
from dashfx.deploy.targets.check import row_shape, sizes_of, type_of, with_sizes
from dashfx.deploy.targets.machine import OPTIMISED_KEY, this_machine
from dashfx.errors import ExportError, VerifyError, first_line

NEAR = 1e-5  # of the largest value: what two orders of the same sums differ by
SEED, ROWS = 0, 2


def beside(path: Path) -> Path:
    """model.onnx -> model.optimised.onnx"""
    return path.with_suffix(f".optimised{path.suffix}")


def optimise(path: Path, out: Path) -> dict[str, Any]:
    """Write `out`, the file as ONNX Runtime has optimised it for this machine's CPU, and a JSON beside it.

    It is in place only once its answers on noise are those of `path`, which was checked against PyTorch; ONNX Runtime
    optimises that in the same way when it opens it, so that they are the same but for the order of sums.

    Returns:
        what the JSON holds.

    Raises:
        ExportError: weights in a second file.
        VerifyError: ONNX Runtime cannot write or read it, or it answers otherwise.
    """
    proto = load_proto(path)
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in proto.graph.initializer):
        raise ExportError(f"{path}: its weights lie in a second file; only files below 2 GB are optimised")
    if any(entry.key == OPTIMISED_KEY for entry in proto.metadata_props):
        raise ExportError(f"{path} is an optimised file already; give the portable one")
    facts: dict[str, Any] = {"of": path.name, "provider": CPU, "machine": this_machine()}
    facts["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    with folder_beside(out) as folder:
        draft = folder / out.name
        try:
            _session(path, draft)
            made = onnx.load(str(draft))
            props = {entry.key: entry.value for entry in proto.metadata_props}
            del made.metadata_props[:]
            onnx.helper.set_model_props(made, props | {OPTIMISED_KEY: json.dumps(facts)})
            draft.write_bytes(made.SerializeToString())
            facts["error"] = _difference(path, draft, _noise(path, proto))
        except VerifyError:
            raise
        except Exception as error:  # ONNX Runtime raises classes of its own without a common base
            raise VerifyError(f"{out}: ONNX Runtime cannot optimise {path.name}: {first_line(error)}") from error
        told = folder / out.with_suffix(".json").name
        told.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        os.replace(draft, out)
        os.replace(told, out.with_suffix(".json"))
    return facts


def _session(path: Path, write: Path | None = None, optimise: bool = False) -> onnxruntime.InferenceSession:
    """`write`: where the optimised graph goes. An optimised file is opened as it is."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    if write is not None:
        options.optimized_model_filepath = str(write)
    elif not optimise:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(str(path), options, providers=[CPU])


def _noise(path: Path, proto: onnx.ModelProto) -> dict[str, np.ndarray]:
    """Inputs of a few rows, of the file's own types and of the sizes in its metadata."""
    sizes = sizes_of(proto, row_shape(path, proto))
    shapes = with_sizes(proto, {name: ROWS if name == "batch" else size for name, size in sizes.items()})
    rng, feed = np.random.default_rng(SEED), {}
    for entry in proto.graph.input:
        whole = np.dtype(type_of(entry)).kind in "biu"
        drawn = rng.integers(0, 255 if type_of(entry) == "uint8" else 2, shapes[entry.name])
        feed[entry.name] = (drawn if whole else rng.normal(size=shapes[entry.name])).astype(type_of(entry))
    return feed


def _difference(path: Path, draft: Path, feed: dict[str, np.ndarray]) -> float:
    """The largest difference of an output over its largest value; text and whole numbers have to be the same.

    Raises:
        VerifyError: it is more than rounding.
    """
    portable, optimised = _session(path, optimise=True), _session(draft)
    pairs = zip(portable.run(None, feed), optimised.run(None, feed), strict=True)
    worst = 0.0
    for place, (expected, found) in enumerate(pairs):
        if expected.dtype.kind != "f":
            same, error = np.array_equal(expected, found), 0.0
        else:
            error = float(np.abs(found - expected).max() / max(float(np.abs(expected).max()), 1e-12))
            same = error <= NEAR  # NaN is not
        if not same:
            name = portable.get_outputs()[place].name
            raise VerifyError(f"{draft.name}: its output {name!r} is another than that of {path.name}; report it")
        worst = max(worst, error)
    return worst
