"""Crops behind convs folded into their padding, so that what is cut off is never computed."""

from __future__ import annotations

import onnx

from dashfx.deploy.layout.graph import Graph, attributes_of, set_attribute

FAR = 2**31 - 1  # the least end that says "to the end"


def without_crops(proto: onnx.ModelProto) -> tuple[onnx.ModelProto, int]:
    """The same function with fewer crops, and how many are gone.

    1. A Slice along axes of size, in steps of one, that alone reads a conv's output goes into the conv: cutting off s
       outputs in front is s strides less of padding there, likewise behind. ONNX Runtime's blocked layout has no Slice.
    2. Left alone: crops of more than the padding, with computed ends, or along other axes.
    """
    graph = Graph(proto)
    for node in graph.of("Slice"):
        conv = graph.before(node, 0, "Conv")
        pads = None if conv is None else _pads(graph, conv, node)
        if conv is not None and pads is not None:
            set_attribute(conv, "pads", pads)
            graph.bypass(node, node.input[0])
            graph.edits += 1
    return (graph.finished(), graph.edits) if graph.edits else (proto, 0)


def _pads(graph: Graph, conv: onnx.NodeProto, crop: onnx.NodeProto) -> list[int] | None:
    """The conv's padding less what is cropped; None where rule 2 holds."""
    given, rank = attributes_of(conv), len(graph.shape(conv.output[0]))
    starts, ends, axes = (graph.value(crop, at) for at in (1, 2, 3))
    steps = graph.value(crop, 4) if len(crop.input) > 4 else None
    known = "pads" in given and given.get("auto_pad", b"NOTSET") == b"NOTSET" and rank > 2
    if not known or starts is None or ends is None or axes is None or (len(crop.input) > 4 and steps is None):
        return None
    if steps is not None and (steps != 1).any():
        return None
    pads, strides = list(given["pads"]), given.get("strides", [1] * (rank - 2))
    for start, end, axis in zip(starts.tolist(), ends.tolist(), axes.tolist(), strict=True):
        at = axis % rank - 2
        if at < 0 or start < 0 or 0 <= end < FAR:
            return None
        pads[at] -= start * strides[at]
        pads[at + rank - 2] += min(end, 0) * strides[at]
    return pads if min(pads) >= 0 else None
