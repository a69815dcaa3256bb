"""Postprocessing nodes behind a graph: scores become probabilities, the number of the class, and its name."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from dashfx.data.base import Kind

PROBABILITIES, INDEX, LABEL, HOLDS = "probabilities", "index", "label", "holds"
HALF = 0.5  # the probability above which a label holds
LEAST = 1e-38  # of a probability, whose logarithm is finite in float32
NEAREST = 1e-7  # a probability to 0 and 1


def activation(kind: Kind) -> nn.Module:
    """What makes probabilities of a model's scores; numbers to regress stay as they are."""
    if kind == "multilabel":
        return nn.Sigmoid()
    return nn.Softmax(1) if kind in ("classes", "dense-classes") else nn.Identity()


def scores(probabilities: Tensor, kind: Kind) -> Tensor:
    """Scores with these probabilities, as tasks take them."""
    if kind == "multilabel":
        return torch.logit(probabilities, eps=NEAREST)
    return probabilities.clamp_min(LEAST).log() if kind in ("classes", "dense-classes") else probabilities


def add_probabilities(graph: onnx.GraphProto, kind: Kind) -> None:
    """The graph's only output becomes probabilities in its place; of numbers to regress it stays."""
    if kind == "dense":
        return
    output = graph.output[0]
    name = fresh(graph, PROBABILITIES)
    if kind == "multilabel":
        graph.node.append(helper.make_node("Sigmoid", [output.name], [name], name))
    else:
        graph.node.append(helper.make_node("Softmax", [output.name], [name], name, axis=1))
    new = onnx.ValueInfoProto()
    new.CopyFrom(output)
    new.name = name
    del graph.output[:]
    graph.output.append(new)


def add_labels(graph: onnx.GraphProto, kind: Kind, labels: Sequence[str]) -> None:
    """Behind the probabilities: `index` of the likeliest class (int64), of one a row its name `label` (string).

    Of several labels `holds` (bool) tells which are likelier than not.
    """
    given = graph.output[0]
    sizes = [d.dim_param or d.dim_value or None for d in given.type.tensor_type.shape.dim]
    if kind == "multilabel":
        half = numpy_helper.from_array(np.array(HALF, np.float32), fresh(graph, "half"))
        graph.initializer.append(half)
        name = fresh(graph, HOLDS)
        graph.node.append(helper.make_node("Greater", [given.name, half.name], [name], name))
        graph.output.append(helper.make_tensor_value_info(name, TensorProto.BOOL, sizes))
    elif kind in ("classes", "dense-classes"):
        name, sizes = fresh(graph, INDEX), [sizes[0], *sizes[2:]]
        graph.node.append(helper.make_node("ArgMax", [given.name], [name], name, axis=1, keepdims=0))
        graph.output.append(helper.make_tensor_value_info(name, TensorProto.INT64, sizes))
        if kind == "classes" and labels:
            names, label = fresh(graph, "labels"), fresh(graph, LABEL)
            graph.initializer.append(numpy_helper.from_array(np.array(labels, object), names))
            graph.node.append(helper.make_node("Gather", [names, name], [label], label))
            graph.output.append(helper.make_tensor_value_info(label, TensorProto.STRING, sizes))


def fresh(graph: onnx.GraphProto, name: str) -> str:
    """The name, with as many lines behind it as it takes to be the only one."""
    taken = {each for node in graph.node for each in (*node.input, *node.output, node.name)}
    taken |= {each.name for each in (*graph.input, *graph.output, *graph.initializer)}
    while name in taken:
        name += "_"
    return name
