"""Linear layers over the last axis: constant factors in their weights, and stretches of them over one flat matrix."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx

from dashfx.deploy.layout.graph import Graph, attributes_of, together

ELEMENTWISE = (
    *("Relu", "Sigmoid", "Tanh", "Erf", "Gelu", "Exp", "Sqrt", "Neg"),
    *("HardSwish", "Softplus", "Mish", "Identity"),
)
BROADCAST = ("Add", "Sub", "Mul", "Div")


def with_whole_gelu(proto: onnx.ModelProto) -> tuple[onnx.ModelProto, int]:
    """x (.5 (1 + erf(x / sqrt 2))), as PyTorch's exporter writes GELU, as (x (1 + erf(x / sqrt 2))) .5, and how many.

    That is the order that ONNX Runtime knows as GELU, for which it has one kernel in place of five.
    """
    graph = Graph(proto)
    for outer in graph.of("Mul"):
        for at in (0, 1):
            inner = graph.before(outer, at, "Mul")
            half = None if inner is None else _scalar_of(graph, inner, 0.5)
            one = None if inner is None or half is None else graph.before(inner, 1 - half, "Add")
            if inner is None or half is None or one is None or not _is_erf_plus_one(graph, one, outer.input[1 - at]):
                continue
            whole = graph.node("Mul", [outer.input[1 - at], one.output[0]], f"{outer.output[0]}_whole")
            graph.replace(outer, [whole, graph.node("Mul", [whole.output[0], inner.input[half]], outer.output[0])])
            graph.replace(inner, [])
            graph.edits += 1
            break
    return (graph.finished(), graph.edits) if graph.edits else (proto, 0)


def _scalar_of(graph: Graph, node: onnx.NodeProto, number: float) -> int | None:
    """At which input a node has this constant."""
    for at in range(len(node.input)):
        value = graph.value(node, at)
        if value is not None and value.size == 1 and abs(float(value.reshape(())) - number) < 1e-6:
            return at
    return None


def _is_erf_plus_one(graph: Graph, add: onnx.NodeProto, x: str) -> bool:
    one = _scalar_of(graph, add, 1.0)
    erf = None if one is None else graph.before(add, 1 - one, "Erf")
    scaled = None if erf is None else graph.before(erf, 0, "Div", "Mul")
    return scaled is not None and x in scaled.input


def with_scaled_weights(proto: onnx.ModelProto) -> tuple[onnx.ModelProto, int]:
    """Products behind linear layers folded into their weights, and how many are gone.

    1. (x W + b) s, with a constant s along the last axis, is x (W s) + b s, where nothing else reads what is between.
    """
    graph = Graph(proto)
    for product in graph.of("Mul"):
        for at in (0, 1):
            scale, add = graph.value(product, 1 - at), graph.before(product, at, "Add")
            layer = graph.before(product, at, "MatMul") or _layer(graph, add)
            weight = None if layer is None else graph.value(layer, 1)
            if scale is None or layer is None or weight is None or weight.ndim != 2:
                continue
            if scale.ndim > 1 or scale.size not in (1, weight.shape[1]):
                continue
            layer.input[1] = graph.constant(weight * scale, f"{layer.input[1]}_scaled")
            if add is not None:
                bias = _bias_at(graph, add)
                add.input[bias] = graph.constant(graph.value(add, bias) * scale, f"{add.input[bias]}_scaled")
            graph.bypass(product, product.input[at])
            graph.edits += 1
            break
    return (graph.finished(), graph.edits) if graph.edits else (proto, 0)


def _layer(graph: Graph, add: onnx.NodeProto | None) -> onnx.NodeProto | None:
    """The MatMul before an Add of a constant along the last axis."""
    if add is None or (bias := _bias_at(graph, add)) is None:
        return None
    return graph.before(add, 1 - bias, "MatMul")


def _bias_at(graph: Graph, add: onnx.NodeProto) -> Any:
    values = [graph.value(add, at) for at in (0, 1)]
    return next((at for at, value in enumerate(values) if value is not None and value.ndim == 1), None)


def with_flat_rows(proto: onnx.ModelProto) -> tuple[onnx.ModelProto, int]:
    """Linear layers over (rows, *size, channels) as ones over (rows * size, channels), and how many.

    ONNX Runtime has one kernel for a product with a matrix and its bias where both are of two axes.

    1. A product with a constant matrix, sums and products with constants along the last axis or with one another, layer
       norms over it and activations are computed on two axes, with one Reshape at each end of a stretch of them.
    2. Left alone: what has free sizes beside the first, and stretches without a product with a matrix.
    """
    graph = Graph(proto)
    data = {i: names for i, node in enumerate(graph.nodes) if (names := _flat_inputs(graph, node))}
    kept = [graph.nodes[i] for i in together(graph.nodes, data, "MatMul")]
    inside, flat = {name for node in kept for name in node.output}, dict[str, str]()
    for node in kept:
        new = [node]
        for at, name in enumerate(node.input):
            if name not in flat and len(graph.shape(name)) > 2:
                size = graph.constant(np.array([-1, graph.shape(name)[-1]]), "flat_size")
                new.insert(0, graph.node("Reshape", [name, size], f"{name}_flat"))
                flat[name] = new[0].output[0]
            node.input[at] = flat.get(name, name)
        name = node.output[0]
        node.output[0] = flat[name] = graph.fresh(f"{name}_flat")
        if graph.is_output(name) or any(reader.output[0] not in inside for reader in graph.readers(name)):
            size = graph.constant(np.array([-1, *graph.shape(name)[1:]]), "size")
            new.append(graph.node("Reshape", [flat[name], size], name))
            new[-1].output[0] = name
        graph.put(node, new)
    return (graph.finished(), sum(node.op_type == "MatMul" for node in kept)) if kept else (proto, 0)


def _flat_inputs(graph: Graph, node: onnx.NodeProto) -> tuple[str, ...]:
    """Names of the tensors that become matrices where rule 1 holds; none where it does not."""
    shape = graph.shape(node.output[0]) if len(node.output) == 1 else ()
    if node.domain not in ("", "ai.onnx") or len(shape) < 3 or None in shape[1:]:
        return ()
    if node.op_type == "MatMul":
        weight, given = graph.value(node, 1), graph.shape(node.input[0])
        return (node.input[0],) if weight is not None and weight.ndim == 2 and given[1:-1] == shape[1:-1] else ()
    if node.op_type == "LayerNormalization":
        return (node.input[0],) if attributes_of(node).get("axis", -1) in (-1, len(shape) - 1) else ()
    if node.op_type in ELEMENTWISE:
        return (node.input[0],)
    if node.op_type not in BROADCAST:
        return ()
    values = [graph.value(node, at) for at in range(len(node.input))]
    names = tuple(name for name, value in zip(node.input, values, strict=True) if value is None)
    small = all(value.ndim <= 1 for value in values if value is not None)
    return names if small and all(graph.shape(name) == shape for name in names) else ()
