"""Size of a network's ONNX file: the bytes of its weights, as they are exported."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import onnx

from dashfx.cost.base import BYTES, TotalCost, one_row
from dashfx.cost.counts import conv_parameters, conv_weights
from dashfx.cost.latency.measure import written
from dashfx.deploy.runtime import load_proto
from dashfx.errors import ExportError
from dashfx.frontend.tracing import Program
from dashfx.site import Site
from dashfx.space import Candidate

FLOAT = 4  # bytes of a number in the file, whatever the model computes in
NUMBERS = {onnx.TensorProto.FLOAT: 4, onnx.TensorProto.DOUBLE: 8, onnx.TensorProto.FLOAT16: 2}
SMALL = {onnx.TensorProto.INT8: 1, onnx.TensorProto.UINT8: 1, onnx.TensorProto.INT32: 4}  # weights, zeros, biases
A_CHANNEL = 4 + 1 + 8  # bytes of a channel's scale and zero, and of those of its bias


@dataclass(frozen=True)
class Size(TotalCost):
    """Bytes of the weights; the graph and its metadata come to some kilobytes beside them."""

    unit: ClassVar[str] = "bytes"
    units: ClassVar[Mapping[str, float]] = BYTES

    def at(self, site: Site, candidate: Candidate) -> float:
        return FLOAT * conv_parameters(site, candidate)

    def in_int8(self, site: Site, candidate: Candidate) -> float:
        """A byte a weight, biases as before, and each output channel's scales and zeros."""
        weights = conv_weights(site, candidate)
        channels = A_CHANNEL * site.out_channels if weights else 0
        return weights + FLOAT * (conv_parameters(site, candidate) - weights) + channels

    def of_file(self, path: Path, program: Program) -> float:
        return weight_bytes(path)

    def whole(self, program: Program) -> float:
        """Norms that are folded into convs count no more; of a model that is not exported, all of its numbers do."""
        try:
            with written(program.model, one_row(program)) as path:
                return weight_bytes(path)
        except ExportError:
            return FLOAT * sum(each.numel() for each in program.model.state_dict().values())


def weight_bytes(path: Path) -> int:
    """Of the numbers in an ONNX file that are no sizes or positions."""
    stored = load_proto(path).graph.initializer
    return sum((NUMBERS | SMALL).get(tensor.data_type, 0) * math.prod(tensor.dims) for tensor in stored)
