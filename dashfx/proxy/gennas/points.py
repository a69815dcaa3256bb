"""A model and two input sizes go in; the places where one tensor holds all that the network knows come out, in order.

In a traced graph these are the cut points, the nodes that every path to the output passes. In a model that torch.fx
cannot go through they are the outputs of its modules in the order of the run.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import networkx as nx
from torch import Tensor, fx, nn

from dashfx.frontend.recording import tensors_in

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Point:
    """A place to tap.

    Attributes:
        name: node of the graph; or module and number of its call, where there is no graph.
        shape: (rows, channels, *size).
        depth: convs and linear layers up to here.
    """

    name: str
    shape: Shape
    depth: int

    @property
    def size(self) -> Shape:
        return self.shape[2:]


class _Failed:
    """The value of a node that could not be computed; whatever uses it fails as well."""


class _Shapes(fx.Interpreter):
    """Notes the shape of each tensor, None for other values; goes on behind nodes that fail at this input size."""

    def __init__(self, graph_module: fx.GraphModule) -> None:
        super().__init__(graph_module)
        self.shapes: dict[str, Shape | None] = {}
        self.flows: set[str] = set()  # nodes that hand tensors on, also inside tuples

    def run_node(self, n: fx.Node) -> Any:
        try:
            result = super().run_node(n)
        except Exception:  # user code at a size that the user did not give may raise anything
            return _Failed()
        self.shapes[n.name] = tuple(result.shape) if isinstance(result, Tensor) else None
        if next(tensors_in(result), None) is not None:
            self.flows.add(n.name)
        return result


def graph_points(graph_module: fx.GraphModule, x: Tensor, larger: Tensor) -> list[Point]:
    """Points of a traced model: the path to its output, or an encoder's path and the last feature."""
    here, there = _Shapes(graph_module), _Shapes(graph_module)
    here.run(x)
    there.run(larger)
    nodes = list(graph_module.graph.nodes)
    spatial = {
        n.name for n in nodes if is_spatial(here.shapes.get(n.name), there.shapes.get(n.name), x, n.op == "placeholder")
    }
    depths = dict(zip((n.name for n in nodes), _depths(graph_module, nodes), strict=True))
    flow = _flow(nodes, here.flows)

    def points(sink: str) -> list[Point]:
        return [
            Point(name, shape, depths[name])
            for name in _cuts(flow, sink)
            if name in spatial and (shape := here.shapes[name]) is not None
        ]

    end = points(nodes[-1].name)
    answer = [source.name for source in nodes[-1].all_input_nodes]
    dense = len(answer) == 1 and answer[0] in spatial
    if dense:
        end = without_head(end)
    elif len(answer) == 1 and _answers(end, here.shapes.get(answer[0])):
        end = end[:-1]
    sizes = {n.name: math.prod(here.shapes[n.name][2:]) for n in nodes if n.name in spatial}  # type: ignore[index]
    if not sizes:
        return []
    narrow = [name for name, size in sizes.items() if size == min(sizes.values())][-1]
    if not end:  # several outputs that share nothing spatial: the path to the deepest map
        return points(narrow)
    if dense and sizes[narrow] < math.prod(end[-1].size):
        return [*points(narrow), end[-1]]
    return end


def _answers(points: list[Point], answer: Shape | None) -> bool:
    """Whether the last point is a layer with weights that gives the answer itself, such as a conv with its pooling."""
    if len(points) < 2 or answer is None or points[-1].depth == points[-2].depth:
        return False
    return math.prod(points[-1].shape) == math.prod(answer)


def without_head(points: list[Point]) -> list[Point]:
    """The points before the last layer with weights: a dense model's own answer is no feature."""
    return [p for p in points if p.depth < points[-1].depth] or points


def is_spatial(shape: Shape | None, larger: Shape | None, x: Tensor, is_input: bool = False) -> bool:
    """Whether a value is (rows, channels, *size): with the input its size grows, and its channels do not.

    Of a value that does not exist at the larger size only rank and rows are known.
    """
    if is_input or shape is None or len(shape) != x.ndim or shape[0] != len(x):
        return False
    if larger is None:
        return max(shape[2:]) > 1
    grown = all(b > a for a, b in zip(shape[2:], larger[2:], strict=True)) if len(larger) == len(shape) else False
    return grown and larger[1] == shape[1]


def has_weights(module: nn.Module) -> bool:
    """A conv, a linear layer or a whole that holds one; not a norm."""
    return any(p.ndim > 1 for p in module.parameters())


def _depths(graph_module: fx.GraphModule, nodes: list[fx.Node]) -> Iterator[int]:
    depth = 0
    for node in nodes:
        if node.op == "call_module":
            depth += has_weights(graph_module.get_submodule(str(node.target)))
        elif node.op == "call_function":  # a functional conv reads its weight from the model
            depth += any(source.op == "get_attr" for source in node.all_input_nodes)
        yield depth


def _flow(nodes: list[fx.Node], flows: set[str]) -> nx.DiGraph:
    """How tensors flow, from "" through every input; without shapes and numbers, which would be ways around."""
    graph = nx.DiGraph()
    graph.add_node("")
    for node in nodes:
        if node.op == "placeholder":
            graph.add_edge("", node.name)
        elif node.name in flows and node.op != "get_attr":
            graph.add_edges_from((s.name, node.name) for s in node.all_input_nodes if s.name in flows)
    return graph


def _cuts(flow: nx.DiGraph, sink: str) -> list[str]:
    """Every node that all paths to `sink` pass, `sink` included, in order."""
    above = nx.immediate_dominators(flow, "")
    if sink not in above:
        return []
    chain = [sink]
    while (parent := above[chain[-1]]) not in (chain[-1], "", None):
        chain.append(parent)
    return chain[::-1]
