"""ONNX files as text: operators with attributes, weights' and outputs' shapes, without a name that somebody chose.

After "ONNX-Net: Towards Universal Representations and Instant Performance Prediction for Neural Architectures", 2025,
its form that joins nodes of one input and one output to chains, by its abstract; there a language model reads it.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx
from onnx import AttributeProto, GraphProto, NodeProto, helper

from dashfx.plugins import published

PLAIN = (AttributeProto.INT, AttributeProto.INTS, AttributeProto.FLOAT, AttributeProto.STRING)


@published(
    "after ONNX-Net: Towards Universal Representations and Instant Performance Prediction for Neural Architectures, "
    "2025",
    "69",
)
def onnx_text(path: str | Path) -> str:
    """A line a chain of nodes: `12<3,7: Conv(dilations=1 1) w4x2x3 -> 1x4x24 | Relu -> 1x4x24`.

    Before the colon stand the chain's number and those of the chains that it reads, 0 for the model's inputs. Outputs
    that the file says no shape of have none. The same for files that differ in the names of tensors and nodes alone.
    """
    graph = onnx.shape_inference.infer_shapes(onnx.load(str(path), load_external_data=False)).graph
    weights = {each.name: "x".join(map(str, each.dims)) for each in graph.initializer}
    shapes = {each.name: _shape(each) for each in (*graph.value_info, *graph.output, *graph.input)}
    chains = _chains(graph, weights)
    number = {name: place for place, chain in enumerate(chains, 1) for node in chain for name in node.output}
    lines = []
    for place, chain in enumerate(chains, 1):
        read = [number.get(name, 0) for name in chain[0].input if name and name not in weights]
        words = [f"{_node(node, weights)} -> {shapes.get(node.output[0], '')}".rstrip(" ->") for node in chain]
        lines.append(f"{place}<{','.join(map(str, read))}: {' | '.join(words)}")
    return "\n".join(lines)


def ngrams(text: str, length: int = 3, size: int = 512) -> np.ndarray:
    """(size,): how often runs of up to `length` words of a text fall into each of so many bins, as log(1 + count).

    The numbers of chains are left out, so that what is alike counts as alike wherever it stands.
    """
    found = np.zeros(size)
    for line in text.splitlines():
        words = line.partition(": ")[2].split()
        for n in range(1, length + 1):
            for gram, count in Counter(zip(*(words[i:] for i in range(n)), strict=False)).items():
                found[zlib.crc32(" ".join(gram).encode()) % size] += count
    return np.log1p(found)


def features(paths: Iterable[str | Path]) -> np.ndarray:
    """(n, 512): those of each file, for any `dashfx.blackbox.predictors`."""
    return np.array([ngrams(onnx_text(path)) for path in paths])


def _chains(graph: GraphProto, weights: dict[str, str]) -> list[list[NodeProto]]:
    """Nodes in order; one joins the chain before it where it alone reads what that gives, and reads nothing else."""
    readers = Counter(name for node in graph.node for name in node.input)
    readers.update(each.name for each in graph.output)
    chains, ends = list[list[NodeProto]](), dict[str, list[NodeProto]]()
    for node in graph.node:
        read = [name for name in node.input if name and name not in weights]
        chain = ends.get(read[0]) if len(read) == 1 and readers[read[0]] == 1 else None
        if chain is None:
            chain = []
            chains.append(chain)
        chain.append(node)
        if len(node.output) == 1:
            ends[node.output[0]] = chain
        if len(read) == 1:
            ends.pop(read[0], None)
    return chains


def _node(node: NodeProto, weights: dict[str, str]) -> str:
    attributes = [
        f"{each.name}={_value(each)}" for each in sorted(node.attribute, key=lambda a: a.name) if _plain(each)
    ]
    head = f"{node.op_type}({','.join(attributes)})" if attributes else node.op_type
    return " ".join([head, *(f"w{weights[name]}" for name in node.input if name in weights)])


def _plain(attribute: AttributeProto) -> bool:
    return attribute.type in PLAIN


def _value(attribute: AttributeProto) -> str:
    value = helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return "x".join(map(str, value)) if attribute.type == AttributeProto.INTS else f"{value:g}"


def _shape(value: onnx.ValueInfoProto) -> str:
    dims = value.type.tensor_type.shape.dim
    return "x".join(str(each.dim_value) if each.HasField("dim_value") else "n" for each in dims)
