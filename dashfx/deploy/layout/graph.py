"""A copy of an ONNX graph that rewritings edit: who makes and who reads a tensor, shapes, constants, fresh names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

Shape = tuple[int | None, ...]


class Graph:
    """Nodes in their order; `finished` gives the file.

    Attributes:
        edits: how many places have been rewritten.
    """

    def __init__(self, proto: onnx.ModelProto) -> None:
        self.proto = onnx.ModelProto()
        self.proto.CopyFrom(proto)
        self.nodes, self.edits = list(self.proto.graph.node), 0
        self._constants = {tensor.name: tensor for tensor in self.proto.graph.initializer}
        for node in self.nodes:
            if node.op_type == "Constant" and node.attribute[0].name == "value":
                self._constants[node.output[0]] = node.attribute[0].t
        self.shapes: dict[str, Shape] = {name: tuple(tensor.dims) for name, tensor in self._constants.items()}
        graph = onnx.shape_inference.infer_shapes(proto).graph
        for value in (*graph.input, *graph.value_info, *graph.output):
            if value.type.tensor_type.HasField("shape"):
                self.shapes[value.name] = tuple(
                    dim.dim_value if dim.HasField("dim_value") else None for dim in value.type.tensor_type.shape.dim
                )
        self.outputs = {output.name for output in self.proto.graph.output}
        self._taken = {*self.shapes, *(name for node in self.nodes for name in (*node.input, *node.output))}

    def of(self, *kinds: str) -> list[onnx.NodeProto]:
        """The nodes of these operators, as they are now."""
        return [node for node in self.nodes if node.op_type in kinds and node.domain in ("", "ai.onnx")]

    def value(self, node: onnx.NodeProto, at: int) -> np.ndarray | None:
        """The constant that a node reads there; None where it is computed, or where there is no such input."""
        tensor = self._constants.get(node.input[at]) if at < len(node.input) else None
        return None if tensor is None else numpy_helper.to_array(tensor)

    def shape(self, name: str) -> Shape:
        """An empty one where nothing is known."""
        return self.shapes.get(name, ())

    def size(self, name: str) -> tuple[int, ...]:
        """The sizes past rows and channels; none where one of them is free."""
        known = [size for size in self.shape(name)[2:] if size is not None]
        return tuple(known) if len(known) == len(self.shape(name)[2:]) else ()

    def maker(self, name: str) -> onnx.NodeProto | None:
        return next((node for node in self.nodes if name in node.output), None)

    def readers(self, name: str) -> list[onnx.NodeProto]:
        return [node for node in self.nodes if name in reads(node)]

    def before(self, node: onnx.NodeProto, at: int, *kinds: str) -> onnx.NodeProto | None:
        """The node of these operators that makes an input, where nothing else reads it."""
        name = node.input[at] if at < len(node.input) else ""
        maker = self.maker(name)
        alone = maker is not None and name not in self.outputs and len(self.readers(name)) == 1
        return maker if alone and maker is not None and maker.op_type in kinds else None

    def behind(self, node: onnx.NodeProto, *kinds: str) -> onnx.NodeProto | None:
        """The node of these operators that reads the output, where nothing else does."""
        name = node.output[0]
        readers = [] if name in self.outputs else self.readers(name)
        return readers[0] if len(readers) == 1 and readers[0].op_type in kinds else None

    def constant(self, array: np.ndarray, name: str) -> str:
        """A new constant of about this name."""
        tensor = numpy_helper.from_array(np.array(array, order="C"), self.fresh(name))
        self.proto.graph.initializer.append(tensor)
        self._constants[tensor.name], self.shapes[tensor.name] = tensor, tuple(tensor.dims)
        return tensor.name

    def node(self, kind: str, inputs: Sequence[str], name: str, **attributes: Any) -> onnx.NodeProto:
        """A new node with one output, both of about this name; it is not in the graph yet."""
        name = self.fresh(name)
        return helper.make_node(kind, list(inputs), [name], name, **attributes)

    def is_output(self, name: str) -> bool:
        return name in self.outputs

    def put(self, old: onnx.NodeProto, new: Sequence[onnx.NodeProto]) -> None:
        """Put nodes in the place of one."""
        at = next(i for i, node in enumerate(self.nodes) if node is old)
        self.nodes[at : at + 1] = new

    def replace(self, old: onnx.NodeProto, new: Sequence[onnx.NodeProto]) -> None:
        """Put nodes in the place of one; the last of them takes over its output."""
        if new and new[-1] is not old:
            new[-1].output[0] = old.output[0]
        self.put(old, new)

    def bypass(self, node: onnx.NodeProto, name: str) -> None:
        """Leave a node out: whatever made `name` makes what the node made."""
        maker = self.maker(name)
        assert maker is not None
        maker.output[list(maker.output).index(name)] = node.output[0]
        self.replace(node, [])

    def fresh(self, name: str) -> str:
        name = next(each for n in count() if (each := f"{name}_{n}" if n else name) not in self._taken)
        self._taken.add(name)
        return name

    def finished(self) -> onnx.ModelProto:
        """The file, without what nothing reads any more."""
        graph = self.proto.graph
        del graph.node[:], graph.value_info[:]
        graph.node.extend(self.nodes)
        drop_unused(graph)
        return self.proto


def attributes_of(node: onnx.NodeProto) -> dict[str, Any]:
    return {each.name: helper.get_attribute_value(each) for each in node.attribute}


def set_attribute(node: onnx.NodeProto, name: str, value: Any) -> None:
    for each in [each for each in node.attribute if each.name == name]:
        node.attribute.remove(each)
    node.attribute.append(helper.make_attribute(name, value))


def together(nodes: Sequence[onnx.NodeProto], inputs: Mapping[int, Sequence[str]], kind: str) -> list[int]:
    """Of some nodes, by their place, those that hang together with one of an operator.

    Args:
        inputs: of each, the names by which it hangs together with whoever makes them.
    """
    group = {i: i for i in inputs}
    maker: dict[str, int] = {}

    def root(i: int) -> int:
        while group[i] != i:
            i = group[i]
        return i

    for i, names in inputs.items():
        for name in names:
            if name in maker:
                group[root(maker[name])] = root(i)
        maker[nodes[i].output[0]] = i
    wanted = {root(i) for i in inputs if nodes[i].op_type == kind}
    return [i for i in inputs if root(i) in wanted]


def reads(node: onnx.NodeProto) -> Iterator[str]:
    """Names that a node reads, graphs inside of it included."""
    yield from node.input
    for attribute in node.attribute:
        for inner in (attribute.g, *attribute.graphs):
            for each in inner.node:
                yield from reads(each)
            yield from (output.name for output in inner.output)


def drop_unused(graph: onnx.GraphProto) -> None:
    """Nodes and constants that nothing reads any more, and what is said of tensors that are gone."""
    read, kept = {output.name for output in graph.output}, list[onnx.NodeProto]()
    for node in reversed(graph.node):
        if read.intersection(node.output):
            kept.append(node)
            read |= set(reads(node))
    del graph.node[:]
    graph.node.extend(reversed(kept))
    for tensor in [t for t in graph.initializer if t.name not in read]:
        graph.initializer.remove(tensor)
    there = {name for node in graph.node for name in node.output} | {tensor.name for tensor in graph.initializer}
    for value in [v for v in graph.value_info if v.name not in there]:
        graph.value_info.remove(value)


def external(proto: onnx.ModelProto) -> bool:
    """Whether weights lie in a second file, where rewritings leave them."""
    return any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in proto.graph.initializer)
