"""Steps of causal convs that no output depends on left out, where only the last steps of a sequence are read."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import onnx

from dashfx.deploy.layout.graph import Graph, attributes_of, reads, set_attribute

ELEMENTWISE = (
    *("Relu", "LeakyRelu", "Elu", "Gelu", "Sigmoid", "Tanh", "Erf", "HardSwish", "Clip", "Identity"),
    *("BatchNormalization", "Softplus", "Mish", "Selu", "HardSigmoid"),
)
BROADCAST = ("Add", "Sub", "Mul", "Div")
ALL = math.inf


def last_steps(proto: onnx.ModelProto) -> tuple[onnx.ModelProto, int]:
    """The same function, computed on the steps that it depends on, and how many convs have fewer of them.

    Of a tensor (rows, channels, L) the last n steps are needed:

    1. n = 1 where a Gather takes the last step; all of L where an output of the graph or another operator reads it.
    2. A conv with stride 1 and e = d (k - 1) steps of padding, all in front, needs n + e steps for n; activations and
       sums of such tensors need n. What several read has the largest n.
    3. A conv's padding is reduced by as many steps as its input has more than its output then; where an operand has
       more steps than a node needs, a Slice takes the last ones.
    4. Left alone: free lengths, and graphs in which no conv has fewer steps.
    """
    graph = Graph(proto)
    needed = dict.fromkeys(graph.outputs, ALL)
    for node in reversed(graph.nodes):
        for name, last in _asks(graph, node, needed):
            needed[name] = max(needed.get(name, 0), last)
    shorter = {node.output[0] for node in graph.nodes if _computed(graph, node)}
    steps = {name: _least(graph, name, count if name in shorter else ALL) for name, count in needed.items()}
    convs = [conv for conv in graph.of("Conv") if _reach(graph, conv) is not None]
    fewer = [conv for conv in convs if steps.get(conv.output[0], 0) < graph.size(conv.output[0])[0]]
    if not fewer:
        return proto, 0
    cut: dict[tuple[str, int], str] = {}
    for node in list(graph.nodes):
        _shorten(graph, node, needed, steps, cut)
    return graph.finished(), len(fewer)


def _asks(graph: Graph, node: onnx.NodeProto, needed: dict[str, float]) -> Iterator[tuple[str, float]]:
    """How many last steps of each of its inputs a node needs."""
    inside = _computed(graph, node)
    for name in reads(node):
        if name in inside:
            yield name, needed.get(node.output[0], ALL) + (_reach(graph, node) or 0)
        else:
            yield name, 1 if _takes_last(graph, node) else ALL


def _computed(graph: Graph, node: onnx.NodeProto) -> tuple[str, ...]:
    """Inputs whose steps line up with the output's, the last ones with the last ones; none of other operators."""
    shape = graph.shape(node.output[0]) if len(node.output) == 1 else ()
    if len(shape) != 3 or shape[2] is None or node.domain not in ("", "ai.onnx"):
        return ()
    if node.op_type == "Conv":
        return (node.input[0],) if _reach(graph, node) is not None else ()
    if node.op_type in ELEMENTWISE:
        return (node.input[0],)
    if node.op_type not in BROADCAST:
        return ()
    values = [graph.value(node, at) for at in range(len(node.input))]
    names = tuple(name for name, value in zip(node.input, values, strict=True) if value is None)
    fixed = all(value.ndim == 0 or value.shape[-1] == 1 for value in values if value is not None)
    return names if fixed and all(graph.shape(name)[1:] == shape[1:] for name in names) else ()


def _reach(graph: Graph, node: onnx.NodeProto) -> int | None:
    """Steps before its own that a causal conv of a known length looks at; None of other nodes."""
    given, shapes = attributes_of(node), [graph.shape(name) for name in (*node.input[:1], *node.output[:1])]
    if node.op_type != "Conv" or any(len(s) != 3 or s[2] is None for s in shapes) or shapes[0][2] != shapes[1][2]:
        return None
    if given.get("auto_pad", b"NOTSET") != b"NOTSET" or given.get("strides", [1]) != [1]:
        return None
    before, after = given.get("pads", [0, 0])
    return before if after == 0 else None


def _takes_last(graph: Graph, node: onnx.NodeProto) -> bool:
    if node.op_type != "Gather" or len(shape := graph.shape(node.input[0])) != 3 or shape[2] is None:
        return False
    index, axis = graph.value(node, 1), attributes_of(node).get("axis", 0)
    return index is not None and index.ndim == 0 and axis in (2, -1) and int(index) in (-1, shape[2] - 1)


def _least(graph: Graph, name: str, count: float) -> int:
    """As many steps as are needed, or all that there are; 0 of what is no sequence of a known length."""
    shape = graph.shape(name)
    return 0 if len(shape) != 3 or shape[2] is None else int(min(count, shape[2]))


def _shorten(
    graph: Graph,
    node: onnx.NodeProto,
    needed: dict[str, float],
    steps: dict[str, int],
    cut: dict[tuple[str, int], str],
) -> None:
    """Rule 3 for a node."""
    if _takes_last(graph, node):
        node.input[1] = graph.constant(np.array(-1), "last")
    reach = _reach(graph, node) or 0
    for at, name in enumerate(node.input):
        if name not in _computed(graph, node):
            continue
        own = steps.get(node.output[0], 0)
        wanted = _least(graph, name, needed.get(node.output[0], ALL) + reach)
        if node.op_type == "Conv":
            set_attribute(node, "pads", [reach - (wanted - own), 0])
        if wanted < steps[name]:
            if (name, wanted) not in cut:
                ends = [graph.constant(np.array([each]), "cut") for each in (-wanted, np.iinfo(np.int64).max, 2)]
                piece = graph.node("Slice", [name, *ends], f"{name}_last")
                graph.put(node, [piece, node])
                cut[name, wanted] = piece.output[0]
            node.input[at] = cut[name, wanted]
