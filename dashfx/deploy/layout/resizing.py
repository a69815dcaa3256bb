"""Nearest-neighbour enlarging by constant factors, which ONNX Runtime's blocked layout knows, not computed sizes."""

from __future__ import annotations

import numpy as np
import onnx

from dashfx.deploy.layout.graph import Graph, attributes_of


def with_constant_factors(proto: onnx.ModelProto) -> tuple[onnx.ModelProto, int]:
    """The same function with whole factors in place of the sizes of Resize nodes, and how many.

    1. A Resize to nearest neighbours whose known sizes, all but the first, are whole multiples of its input's gets
       these factors. Which neighbour is nearest is the same then.
    2. Left alone: free sizes, other factors, other modes, regions.
    """
    graph = Graph(proto)
    for node in graph.of("Resize"):
        given, old, new = attributes_of(node), graph.shape(node.input[0]), graph.shape(node.output[0])
        computed = len(node.input) > 3 and not node.input[1] and not node.input[2] and graph.value(node, 3) is None
        if not computed or given.get("mode", b"nearest") != b"nearest" or "axes" in given or len(old) != len(new):
            continue
        factors = [b / a if a and b else 0 for a, b in zip(old[1:], new[1:], strict=True)]
        if given.get("keep_aspect_ratio_policy", b"stretch") != b"stretch" or not _are_whole(factors):
            continue
        scales = graph.constant(np.array([1, *factors], np.float32), "factors")
        del node.input[2:]
        node.input.append(scales)
        graph.edits += 1
    return (graph.finished(), graph.edits) if graph.edits else (proto, 0)


def _are_whole(factors: list[float]) -> bool:
    return all(factor >= 1 and factor == int(factor) for factor in factors)
