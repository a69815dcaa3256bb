"""1-D convs of an ONNX graph written as 2-D ones, which ONNX Runtime has faster kernels for."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from dashfx.deploy.layout.graph import drop_unused, reads, together

AXIS = 2  # of a lifted tensor, the one of size 1: (rows, channels, 1, length)

WINDOWS = ("kernel_shape", "strides", "dilations")
POOLS = ("MaxPool", "AveragePool", "LpPool")
AS_THEY_ARE = (  # no attribute, and no input but the first, that knows axes
    *("BatchNormalization", "InstanceNormalization", "GlobalAveragePool", "GlobalMaxPool", "Clip", "Identity"),
    *("Relu", "LeakyRelu", "Elu", "Selu", "Celu", "Gelu", "Mish", "Sigmoid", "HardSigmoid", "HardSwish", "Tanh"),
    *("Softplus", "Softsign", "ThresholdedRelu", "Erf", "Exp", "Log", "Sqrt", "Reciprocal", "Abs", "Neg"),
)
BROADCAST = ("Add", "Sub", "Mul", "Div", "Pow", "Min", "Max", "Sum", "Mean", "PRelu")


@dataclass(frozen=True)
class _Change:
    """What becomes of a node: attributes, and inputs that get another constant, by their position.

    Attributes:
        lifted: positions of the inputs that gain an axis.
    """

    lifted: tuple[int, ...]
    attributes: dict[str, Any]
    constants: dict[int, tuple[str, np.ndarray]]


def as_2d(proto: onnx.ModelProto) -> tuple[onnx.ModelProto, int]:
    """The same function with 2-D convs, and how many there are; `proto` itself and 0 where there are none to make.

    ONNX Runtime's blocked layout (NCHWc), with which its CPU kernels are fastest, needs tensors of four axes.

    1. A conv over (rows, channels, length) whose weight is a constant gets a kernel of 1 x k, with its stride,
       dilation, groups and pads (also one-sided) along the length.
    2. Poolings, batch and instance norms, activations, and sums, products and so on with constants or with other
       tensors of three axes stay around it in the same form; concatenations, slices and pads count axes anew.
    3. A stretch is what of these hangs together and holds a conv. Each tensor gets one Unsqueeze where it enters a
       stretch, and one Squeeze where anything else reads it, an output of the graph included.
    4. Left alone: all other operators (transposed convs, resizing, reductions, layer norms, products of matrices),
       convs with computed weights or an `auto_pad`, pools that also give positions, and stretches without a conv.
    """
    graph = _Graph(proto)
    changes = {i: change for i, node in enumerate(proto.graph.node) if (change := graph.change(node))}
    inputs = {i: [proto.graph.node[i].input[at] for at in change.lifted] for i, change in changes.items()}
    stretch = together(proto.graph.node, inputs, "Conv")
    convs = sum(proto.graph.node[i].op_type == "Conv" for i in stretch)
    return (graph.rewritten({i: changes[i] for i in stretch}), convs) if convs else (proto, 0)


class _Graph:
    """A graph with the ranks of its tensors and its constants."""

    def __init__(self, proto: onnx.ModelProto) -> None:
        self.proto = proto
        graph = onnx.shape_inference.infer_shapes(proto).graph
        known = [v for v in (*graph.input, *graph.value_info, *graph.output) if v.type.tensor_type.HasField("shape")]
        self.ranks = {value.name: len(value.type.tensor_type.shape.dim) for value in known}
        self.constants = {tensor.name: tensor for tensor in graph.initializer}
        self.initialised = set(self.constants)
        for node in graph.node:
            if node.op_type == "Constant" and node.attribute[0].name == "value":
                self.constants[node.output[0]] = node.attribute[0].t
        self.ranks |= {name: len(tensor.dims) for name, tensor in self.constants.items()}
        self.taken = {*self.ranks, *(name for node in graph.node for name in (*node.input, *node.output))}

    def change(self, node: onnx.NodeProto) -> _Change | None:
        """Rules 1 and 2; None for a node that is left alone."""
        outputs = [name for name in node.output if name]
        if node.domain not in ("", "ai.onnx") or len(outputs) != 1 or self.ranks.get(outputs[0]) != 3:
            return None
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        if node.op_type in BROADCAST or node.op_type == "Concat":
            return self._operands(node, attributes)
        if not node.input or self.ranks.get(node.input[0]) != 3 or node.input[0] in self.constants:
            return None
        if node.op_type == "Conv" or node.op_type in POOLS:
            return self._window(node, attributes)
        if node.op_type in ("Slice", "Pad"):
            return self._cut(node)
        return _Change((0,), {}, {}) if node.op_type in AS_THEY_ARE else None

    def _window(self, node: onnx.NodeProto, attributes: dict[str, Any]) -> _Change | None:
        if attributes.get("auto_pad", b"NOTSET") != b"NOTSET":
            return None
        changed: dict[str, Any] = {name: [1, *attributes[name]] for name in WINDOWS if name in attributes}
        if "pads" in attributes:
            left, right = attributes["pads"]
            changed["pads"] = [0, left, 0, right]
        if node.op_type != "Conv":
            return _Change((0,), changed, {})
        weight = self._value(node, 1)
        return None if weight is None else _Change((0,), changed, {1: ("", _lifted(weight))})

    def _operands(self, node: onnx.NodeProto, attributes: dict[str, Any]) -> _Change | None:
        """Operands of fewer than two axes are along the length alone, and stay as they are."""
        joins = node.op_type == "Concat"
        lifted, constants = [], {}
        for at, name in enumerate(node.input):
            rank = self.ranks.get(name, -1)
            if name in self.constants and rank >= 2:
                constants[at] = ("", _lifted(numpy_helper.to_array(self.constants[name])))
            elif rank == 3:
                lifted.append(at)
            elif joins or rank not in (0, 1):
                return None
        axis = {"axis": _axis(attributes["axis"])} if joins else {}
        return _Change(tuple(lifted), axis, constants) if lifted else None

    def _cut(self, node: onnx.NodeProto) -> _Change | None:
        """A Slice has axes as its fourth input, and so may a Pad, which else counts all of them."""
        axes, pads = self._value(node, 3), self._value(node, 1)
        if axes is not None:
            return _Change((0,), {}, {3: ("axes", np.array([_axis(axis) for axis in axes], axes.dtype))})
        computed = any(node.input[3:])
        if computed or node.op_type != "Pad" or pads is None or len(pads) != 6:
            return None
        return _Change((0,), {}, {1: ("pads", np.insert(pads, [AXIS, 3 + AXIS], 0))})

    def _value(self, node: onnx.NodeProto, at: int) -> np.ndarray | None:
        tensor = self.constants.get(node.input[at]) if at < len(node.input) else None
        return None if tensor is None else numpy_helper.to_array(tensor)

    def rewritten(self, changes: dict[int, _Change]) -> onnx.ModelProto:
        """Rule 3, on a copy."""
        proto = onnx.ModelProto()
        proto.CopyFrom(self.proto)
        graph, nodes = proto.graph, list(proto.graph.node)
        made = {nodes[i].output[0] for i in changes}
        read = self._read_elsewhere(changes)
        names = {name: self._fresh(f"{name}_2d") for name in made}
        axis = numpy_helper.from_array(np.array([AXIS]), self._fresh("axis_2d"))
        new: dict[str, onnx.TensorProto] = {axis.name: axis}
        del graph.node[:]
        for i, node in enumerate(nodes):
            if i not in changes:
                graph.node.append(node)
                continue
            for name in (node.input[at] for at in changes[i].lifted):
                if name not in names:
                    names[name] = self._fresh(f"{name}_2d")
                    graph.node.append(helper.make_node("Unsqueeze", [name, axis.name], [names[name]], names[name]))
            output = node.output[0]
            graph.node.append(self._as_2d(node, changes[i], names, new, read))
            if output in read:
                graph.node.append(helper.make_node("Squeeze", [names[output], axis.name], [output], f"{output}_1d"))
        for tensor in [t for t in graph.initializer if t.name in new]:
            graph.initializer.remove(tensor)
        for value in [v for v in graph.value_info if v.name in new]:
            graph.value_info.remove(value)
        graph.initializer.extend(new.values())
        drop_unused(graph)
        return proto

    def _as_2d(
        self,
        node: onnx.NodeProto,
        change: _Change,
        names: dict[str, str],
        new: dict[str, onnx.TensorProto],
        read: set[str],
    ) -> onnx.NodeProto:
        """A constant keeps its name, which tells the layer's, where nothing else reads it."""
        for attribute in [a for a in node.attribute if a.name in change.attributes]:
            node.attribute.remove(attribute)
        node.attribute.extend(helper.make_attribute(name, value) for name, value in change.attributes.items())
        for at, (role, array) in change.constants.items():
            alone = not role and node.input[at] in self.initialised and node.input[at] not in read
            name = node.input[at] if alone else f"{node.input[at]}_2d{role}"
            while not alone and name in self.taken:  # of another tensor; the same constant is written once
                name += "_"
            new.setdefault(name, numpy_helper.from_array(np.ascontiguousarray(array), name))
            node.input[at] = name
        for at in change.lifted:
            node.input[at] = names[node.input[at]]
        node.output[0] = names[node.output[0]]
        return node

    def _read_elsewhere(self, changes: dict[int, _Change]) -> set[str]:
        """Names that outputs of the graph and nodes outside of the stretches read."""
        read = {output.name for output in self.proto.graph.output}
        for i, node in enumerate(self.proto.graph.node):
            if i not in changes:
                read |= set(reads(node))
        return read

    def _fresh(self, name: str) -> str:
        name = next(each for n in count() if (each := f"{name}_{n}" if n else name) not in self.taken)
        self.taken.add(name)
        return name


def _lifted(array: np.ndarray) -> np.ndarray:
    """(..., channels, length) -> (..., channels, 1, length)."""
    return np.expand_dims(array, -2)


def _axis(axis: int) -> int:
    """The place of an axis of three among the four."""
    axis = int(axis) % 3
    return axis + 1 if axis >= AXIS else axis
