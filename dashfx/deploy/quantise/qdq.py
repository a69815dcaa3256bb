"""QDQ files, written by ONNX Runtime's static quantisation: which nodes may be in int8, and files with some of them."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Collection, Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quant_pre_process,
    quantize_static,
)
from torch import Tensor

from dashfx.deploy.layout.norms import norms_as_convs
from dashfx.deploy.runtime import OnnxModel, load_proto
from dashfx.errors import VerifyError

METHODS = {
    "min-max": CalibrationMethod.MinMax,
    "entropy": CalibrationMethod.Entropy,
    "percentile": CalibrationMethod.Percentile,
}
INT8_KEY = "int8"
WEIGHTED = ("Conv", "Gemm", "MatMul")
BETWEEN = ("Relu", "Clip", "Add", "Concat", "MaxPool", "AveragePool", "GlobalAveragePool")
AT_ONCE = 16  # rows of a call
HELD_IN_MEMORY = 2**26  # values: histograms are made of every activation of all rows


class Quantiser:
    """A float file, prepared: batch norms are folded or convs of their own, nodes have names of their own.

    Attributes:
        sites: the nodes that may be in int8: convs and matrix products with constant weights, in order.
        rows: those that ranges are told from.
    """

    def __init__(self, path: Path, folder: Path, rows: Tensor) -> None:
        self._folder, self._facts = folder, {p.key: p.value for p in load_proto(path).metadata_props}
        self._prepared = folder / "prepared.onnx"
        with _quiet():
            quant_pre_process(path, self._prepared, skip_symbolic_shape=True)
        self.proto, _ = norms_as_convs(onnx.load(str(self._prepared)))
        _name(self.proto.graph)
        onnx.save(self.proto, str(self._prepared))
        constants = {tensor.name for tensor in self.proto.graph.initializer}
        weighted = [node for node in self.proto.graph.node if node.op_type in WEIGHTED]
        self.sites = tuple(node.name for node in weighted if node.input[1] in constants)
        self.rows = rows[: max(AT_ONCE, HELD_IN_MEMORY // self._activations(rows[:1]))]

    def _activations(self, row: Tensor) -> int:
        """How many values a row makes on its way through the file."""
        proto = onnx.ModelProto()
        proto.CopyFrom(self.proto)
        known = {output.name for output in proto.graph.output}
        names = [name for node in proto.graph.node for name in node.output if name and name not in known]
        proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
        exposed = self._folder / "exposed.onnx"
        onnx.save(proto, str(exposed))
        model = OnnxModel(exposed, optimise=False)
        batch = next(iter(batches(row, model)))
        return sum(tensor.numel() for tensor in model.run(batch).values()) // len(batch) + 1

    def write(self, path: Path, sites: Collection[str], method: str) -> Path:
        """The file with these sites in int8, and between them what can be: QDQ, weights by channel.

        Raises:
            VerifyError: another node is in int8 than was meant to be.
        """
        reader = _Rows(self.rows, OnnxModel(self._prepared))
        options: dict[str, Any] = {"per_channel": True, "quant_format": QuantFormat.QDQ}
        options |= {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8}
        if "calibration_cache_path" in inspect.signature(quantize_static).parameters:  # ONNX Runtime 1.31 and later
            options["calibration_cache_path"] = self._folder / f"{method}.json"
        with _quiet():
            quantize_static(
                self._prepared,
                path,
                reader,
                op_types_to_quantize=[*WEIGHTED, *BETWEEN],
                nodes_to_quantize=[*sites, *self._between(sites)],
                calibrate_method=METHODS[method],
                **options,
            )
        proto = onnx.load(str(path))
        del proto.metadata_props[:]
        told = f"{len(sites)} of {len(self.sites)} nodes, {method} calibration"
        onnx.helper.set_model_props(proto, {**self._facts, INT8_KEY: told})
        onnx.save(proto, str(path))
        self._check(proto, sites)
        return path

    def _between(self, sites: Collection[str]) -> list[str]:
        """Nodes all of whose inputs come from int8: activations, sums, pools."""
        constants = {tensor.name for tensor in self.proto.graph.initializer}
        made: set[str] = set()
        found = []
        for node in self.proto.graph.node:
            inputs = [name for name in node.input if name and name not in constants]
            joined = node.op_type in BETWEEN and inputs and made.issuperset(inputs)
            if joined:
                found.append(node.name)
            if joined or node.name in sites:
                made |= set(node.output)
        return found

    def _check(self, proto: onnx.ModelProto, sites: Collection[str]) -> None:
        maker = {name: node.op_type for node in proto.graph.node for name in node.output}
        weighted = [node for node in proto.graph.node if node.name in self.sites]
        found = {n.name for n in weighted if {maker.get(name) for name in n.input[:2]} == {"DequantizeLinear"}}
        if found != set(sites):
            wrong = sorted(found ^ set(sites))[0]
            raise VerifyError(
                f"node {wrong!r} is {'' if wrong in found else 'not '}in int8 against what was asked of ONNX Runtime; "
                "leave --int8 out, and report it"
            )


def in_int8(path: Path, rows: Tensor) -> Path:
    """A file beside `path` with all of its convs and matrix products in int8, ranges told from `rows`."""
    folder = path.with_suffix(".int8")  # of its own: ranges that another file left would be taken for this one's
    folder.mkdir()
    quantiser = Quantiser(path, folder, rows)
    if not quantiser.sites:
        return path  # a pool, or nothing
    return quantiser.write(path.with_suffix(".int8.onnx"), quantiser.sites, "min-max")


def _name(graph: onnx.GraphProto) -> None:
    """Names of their own: that of the module where the exporter kept it in the weight's."""
    taken: set[str] = set()
    for i, node in enumerate(graph.node):
        name = node.name or node.op_type
        if node.op_type in WEIGHTED and node.input[1].endswith(".weight"):
            name = node.input[1].removesuffix(".weight")
        node.name = f"{name}_{i}" if name in taken else name
        taken.add(node.name)


class _Rows(CalibrationDataReader):
    """Batches as ONNX Runtime's calibration asks for them."""

    def __init__(self, rows: Tensor, model: OnnxModel) -> None:
        self._name, self._batches = model.inputs[0], iter(batches(rows, model))

    def get_next(self) -> dict[str, np.ndarray] | None:
        batch = next(self._batches, None)
        return None if batch is None else {self._name: batch.numpy()}


def batches(rows: Tensor, model: OnnxModel) -> Iterator[Tensor]:
    """As many rows at once as the file takes; the last batch is left out where it is not full."""
    fixed = model.session.get_inputs()[0].shape[0]
    size = fixed if isinstance(fixed, int) else min(AT_ONCE, len(rows))
    rows = rows.repeat(-(-size // len(rows)), *(1 for _ in rows.shape[1:])) if len(rows) < size else rows
    return (rows[start : start + size] for start in range(0, len(rows) - size + 1, size))


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps ONNX Runtime's tools from printing, and from giving the root logger a handler."""
    root, silent, level = logging.getLogger(), logging.NullHandler(), logging.root.manager.disable
    root.addHandler(silent)
    logging.disable(logging.WARNING)
    try:
        with redirect_stdout(StringIO()):
            yield
    finally:
        logging.disable(level)
        root.removeHandler(silent)
