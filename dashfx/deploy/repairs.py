"""What PyTorch's exporters translate wrongly, and graphs that ONNX Runtime refuses, go in; ways around come out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from math import pi
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor


@cache
def translations() -> dict[Any, Callable[..., Any]]:
    """ATen operator -> its ONNX form, for `custom_translation_table`, where that of onnxscript (0.7) is wrong."""
    from onnxscript import opset18  # takes a second, and an export is rare

    op: Any = opset18  # its types refuse what they cannot know

    def copy(self: Any, src: Any, non_blocking: bool = False) -> Any:
        """Theirs leaves `src` as small as it is: `x[:] = y` fails in ONNX Runtime where y is broadcast."""
        return op.Expand(op.CastLike(src, self), op.Shape(self))

    def atan2(self: Any, other: Any) -> Any:
        """Theirs gives -pi in place of pi on the negative axis, where the angle of a signal's mean may lie."""
        zero, turn = (op.CastLike(op.Constant(value_float=value), self) for value in (0.0, pi))
        angle = op.Atan(op.Div(self, other))
        below = op.Or(op.Less(self, zero), op.Less(op.Reciprocal(self), zero))  # -0.0 too
        left = op.Where(below, op.Sub(angle, turn), op.Add(angle, turn))
        result = op.Where(op.Less(other, zero), left, angle)
        return op.Where(op.And(op.Equal(self, zero), op.Equal(other, zero)), zero, result)

    return {torch.ops.aten.copy.default: copy, torch.ops.aten.atan2.default: atan2}


@contextmanager
def memory_kept() -> Iterator[None]:
    """Lets `x.set_()` do nothing: reversible networks free memory by it, and the exporters cannot follow."""
    real = Tensor.set_

    def kept(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return real(x, *args, **kwargs) if args or kwargs else x

    Tensor.set_ = kept  # type: ignore[method-assign,assignment]
    try:
        yield
    finally:
        del Tensor.set_  # the method is of the class above


def part_pads_from_pools(proto: onnx.ModelProto) -> None:
    """Keep ONNX Runtime from merging a Pad into a pooling whose kernel is no wider than the padding.

    It does so when it loads the file, and then refuses it (1.31): `nn.ZeroPad2d` before `nn.AvgPool2d(1, stride=2)` is
    enough. A Pad that names its axes is left alone.
    """
    graph = proto.graph
    pads = {node.output[0]: node for node in graph.node if node.op_type == "Pad" and len(node.input) < 4}
    for pool in graph.node:
        if pool.op_type not in ("AveragePool", "MaxPool") or pool.input[0] not in pads:
            continue
        pad = pads.pop(pool.input[0])
        widths = _constant(graph, pad.input[1])
        if widths is None or widths.max() < min(_kernel(pool)):
            continue
        axes = numpy_helper.from_array(np.arange(len(widths) // 2), f"{pad.output[0]}_axes")
        graph.initializer.append(axes)
        pad.input.extend([""] * (3 - len(pad.input)) + [axes.name])


def _kernel(pool: onnx.NodeProto) -> list[int]:
    return next(list(a.ints) for a in pool.attribute if a.name == "kernel_shape")


def _constant(graph: onnx.GraphProto, name: str) -> Any:
    """An initializer or a Constant node as an array; None for what is computed or lies in a second file."""
    for tensor in graph.initializer:
        if tensor.name == name and tensor.data_location != onnx.TensorProto.EXTERNAL:
            return numpy_helper.to_array(tensor)
    for node in graph.node:
        if name in node.output and node.op_type == "Constant" and node.attribute[0].name == "value":
            return numpy_helper.to_array(node.attribute[0].t)
    return None
