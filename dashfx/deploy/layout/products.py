"""Convs over few places written as products with a matrix, which reads each weight once."""

from __future__ import annotations

import itertools

import numpy as np
import onnx

from dashfx.deploy.layout.graph import Graph, attributes_of

PLACES = 16  # outputs of a channel, at most
CHANNELS = 128  # of the input, at least


def as_products(proto: onnx.ModelProto) -> tuple[onnx.ModelProto, int]:
    """The same function with matrix products in place of convs over few places, and how many.

    Blocked conv kernels compute a few places of a row at once, and borders apart: of 2x2 places nothing is inside.

    1. A dense conv of several taps with constant weights, from at least 128 channels to at most 16 places, becomes
       Gather (of each place's taps, rows of channels), Gemm with the weights and their bias, and back.
    2. Left alone: free sizes, groups, computed weights or an `auto_pad`.
    """
    graph = Graph(proto)
    for conv in graph.of("Conv"):
        taken = _taps(graph, conv)
        if taken is not None:
            graph.put(conv, _product(graph, conv, taken))
            graph.edits += 1
    return (graph.finished(), graph.edits) if graph.edits else (proto, 0)


def _taps(graph: Graph, conv: onnx.NodeProto) -> np.ndarray | None:
    """(places, taps): which place of the input, in order, each tap looks at; one behind the last for padding."""
    given, weight = attributes_of(conv), graph.value(conv, 1)
    size, places = graph.size(conv.input[0]), graph.size(conv.output[0])
    if weight is None or not size or not places or given.get("group", 1) != 1:
        return None
    if given.get("auto_pad", b"NOTSET") != b"NOTSET" or np.prod(places) > PLACES:
        return None
    if weight.shape[1] < CHANNELS or np.prod(weight.shape[2:]) == 1:
        return None
    axes = len(size)
    strides, dilations = (np.array(given.get(name, [1] * axes)) for name in ("strides", "dilations"))
    before, found = np.array(given.get("pads", [0] * 2 * axes)[:axes]), []
    for place in itertools.product(*map(range, places)):
        for tap in itertools.product(*map(range, weight.shape[2:])):
            at = np.array(place) * strides + np.array(tap) * dilations - before
            inside = ((at >= 0) & (at < size)).all()
            found.append(int(np.ravel_multi_index(tuple(at), size)) if inside else int(np.prod(size)))
    return np.array(found).reshape(int(np.prod(places)), -1)


def _product(graph: Graph, conv: onnx.NodeProto, taken: np.ndarray) -> list[onnx.NodeProto]:
    weight, name = graph.value(conv, 1), conv.output[0]
    assert weight is not None
    out, channels, places = weight.shape[0], weight.shape[1], len(taken)
    count = int(np.prod(graph.size(conv.input[0])))

    def size(*sizes: int) -> str:
        return graph.constant(np.array(sizes), "size")

    matrix = graph.constant(np.moveaxis(weight, (0, 1), (-1, -2)).reshape(-1, out), f"{conv.input[1]}_matrix")
    flat = graph.node("Reshape", [conv.input[0], size(-1, channels, count)], f"{name}_places")
    nodes = [flat, graph.node("Transpose", [flat.output[0]], f"{name}_rows", perm=[0, 2, 1])]
    if (taken == count).any():
        nodes.append(graph.node("Pad", [nodes[-1].output[0], size(0, 0, 0, 0, 1, 0)], f"{name}_padded"))
    index = graph.constant(taken.reshape(-1), "taps")
    nodes.append(graph.node("Gather", [nodes[-1].output[0], index], f"{name}_taps", axis=1))
    nodes.append(graph.node("Reshape", [nodes[-1].output[0], size(-1, taken.shape[1] * channels)], f"{name}_flat"))
    nodes.append(graph.node("Gemm", [nodes[-1].output[0], matrix, *conv.input[2:]], f"{name}_product"))
    nodes.append(graph.node("Reshape", [nodes[-1].output[0], size(-1, places, out)], f"{name}_of_places"))
    nodes.append(graph.node("Transpose", [nodes[-1].output[0]], f"{name}_of_channels", perm=[0, 2, 1]))
    nodes.append(graph.node("Reshape", [nodes[-1].output[0], size(-1, out, *graph.size(name))], name))
    nodes[-1].output[0] = name
    return nodes
