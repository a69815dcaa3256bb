"""Batch norms that fold into no conv written as depthwise 1x1 convs, which can be computed in int8."""

from __future__ import annotations

import numpy as np
import onnx

from dashfx.deploy.layout.graph import Graph, attributes_of


def norms_as_convs(proto: onnx.ModelProto) -> tuple[onnx.ModelProto, int]:
    """The same function with a conv in place of each batch norm, and how many.

    1. s (x - mean) / sqrt(var + eps) + b, by channel, is a conv of one tap with as many groups as channels. In float
       ONNX Runtime computes one as it does the other; in int8 there is a kernel of the conv alone.
    2. Left alone: norms of a training, with computed statistics, or over unknown axes.
    """
    graph = Graph(proto)
    for norm in graph.of("BatchNormalization"):
        axes, values = len(graph.shape(norm.input[0])) - 2, [graph.value(norm, at) for at in range(1, 5)]
        given = attributes_of(norm)
        if axes < 1 or len(norm.output) != 1 or given.get("training_mode", 0):
            continue
        scale, bias, mean, variance = (None if value is None else value.astype(np.float64) for value in values)
        if scale is None or bias is None or mean is None or variance is None:
            continue
        scale = scale / np.sqrt(variance + given.get("epsilon", 1e-5))
        inputs = [norm.input[0]]
        for array in (scale.reshape(-1, 1, *[1] * axes), bias - scale * mean):
            inputs.append(graph.constant(array.astype(np.float32), f"{norm.input[1]}_conv"))
        name = norm.input[1].removesuffix(".weight")
        graph.replace(norm, [graph.node("Conv", inputs, name, group=len(scale), kernel_shape=[1] * axes)])
        graph.edits += 1
    return (graph.finished(), graph.edits) if graph.edits else (proto, 0)
