"""Views of a traced graph: networkx topology, receptive field per node, stages by resolution."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Any

import networkx as nx
from torch import Tensor, fx, nn

from dashfx.site import Site

GLOBAL = math.inf  # a receptive field that covers whatever input there is


def to_networkx(graph_module: fx.GraphModule) -> nx.DiGraph:
    """The graph with its nodes' op, target and shape; edges run from inputs to users."""
    graph = nx.DiGraph()
    for node in graph_module.graph.nodes:
        graph.add_node(node.name, op=node.op, target=str(node.target), shape=node.meta.get("shape"))
        graph.add_edges_from((source.name, node.name) for source in node.all_input_nodes)
    return graph


def topology(graph_module: fx.GraphModule) -> list[tuple[Any, ...]]:
    """What each node does and which nodes feed it, by position: equal for equal networks, whatever the names."""
    place = {node: i for i, node in enumerate(graph_module.graph.nodes)}
    return [
        (node.op, _label(node), tuple(place[source] for source in node.all_input_nodes))
        for node in graph_module.graph.nodes
    ]


def same_topology(a: fx.GraphModule, b: fx.GraphModule) -> bool:
    return topology(a) == topology(b)


def graph_hash(graph_module: fx.GraphModule) -> str:
    """A digest of the graph, of every module's class and settings, and of the shapes of all weights; not of values."""
    model: nn.Module = graph_module.meta["model"]
    modules = [(name, type(module).__qualname__, module.extra_repr()) for name, module in model.named_modules()]
    shapes = [(name, tuple(value.shape)) for name, value in model.state_dict().items()]
    facts = repr((topology(graph_module), modules, shapes))
    return hashlib.sha256(facts.encode()).hexdigest()


def _label(node: fx.Node) -> str:
    if node.op == "call_function":
        return getattr(node.target, "__name__", str(node.target))
    return "" if node.op in ("placeholder", "output") else str(node.target)


def stages(graph_module: fx.GraphModule) -> dict[tuple[int, ...], list[str]]:
    """Nodes by spatial size, in the order in which sizes appear; needs the shapes that tracing records."""
    found: dict[tuple[int, ...], list[str]] = {}
    for node in graph_module.graph.nodes:
        shape = node.meta.get("shape")
        if shape is not None and len(shape) > 2:
            found.setdefault(shape[2:], []).append(node.name)
    return found


@dataclass(frozen=True)
class Field:
    """Receptive field and jump (input steps per step here), per spatial axis, in input positions."""

    size: tuple[float, ...]
    jump: tuple[float, ...]

    def through(self, span: tuple[int, ...], stride: tuple[int, ...]) -> Field:
        size = tuple(r + (s - 1) * j for r, s, j in zip(self.size, span, self.jump, strict=True))
        return Field(size, tuple(j * s for j, s in zip(self.jump, stride, strict=True)))


def receptive_fields(graph_module: fx.GraphModule) -> dict[str, tuple[float, ...] | None]:
    """Receptive field of each node's output, per axis, in positions of the model's input; None where it is unknown.

    Convs and pools widen it by (span - 1) times the jump; a change of size elsewhere (interpolation) rescales the jump;
    what removes the spatial axes sees everything (`GLOBAL`).
    """
    fields: dict[fx.Node, Field | None] = {}
    for node in graph_module.graph.nodes:
        fields[node] = _field(graph_module, node, fields)
    return {node.name: field.size if field else None for node, field in fields.items()}


def site_receptive_fields(graph_module: fx.GraphModule) -> dict[str, tuple[float, ...] | None]:
    """Receptive field of each site's output, by site name; of the last call where a site is called more than once."""
    fields = receptive_fields(graph_module)
    sites: dict[str, Site] = graph_module.meta["sites"]
    found: dict[str, tuple[float, ...] | None] = dict.fromkeys(sites)
    for node in graph_module.graph.nodes:
        if node.op == "call_module" and node.target in found:
            found[node.target] = fields[node.name]
    return found


def _field(graph_module: fx.GraphModule, node: fx.Node, fields: dict[fx.Node, Field | None]) -> Field | None:
    shape = node.meta.get("shape")
    if node.op == "placeholder":
        axes = len(shape) - 2 if shape else 0
        return Field((1.0,) * axes, (1.0,) * axes) if axes > 0 else None
    sources = [(s, f) for s in node.all_input_nodes if (f := fields.get(s)) is not None]
    if not sources or shape is None:
        return None
    widest = _join([field for _, field in sources])
    if widest is None:
        return None
    if node.op == "call_module":
        window = _window(graph_module.get_submodule(str(node.target)), len(widest.size))
        if window is None and _holds_convs(graph_module.get_submodule(str(node.target))):
            return None
        if window is not None and len(window[0]) != len(widest.size):
            return None  # a reshape has made axes of what was one, and how far each of them sees is not known
        if window is not None:
            # Where the model made an axis of its own, such as a signal's second one, nothing is known of it.
            return widest.through(*window) if len(window[0]) == len(widest.size) else None
    return _resized(widest, sources[0][0].meta.get("shape"), shape)


def _join(fields: list[Field]) -> Field | None:
    if len({len(f.size) for f in fields}) != 1:
        return None
    sizes = tuple(map(max, zip(*(f.size for f in fields), strict=True)))
    return Field(sizes, tuple(map(max, zip(*(f.jump for f in fields), strict=True))))


def _window(module: nn.Module, ndim: int) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """Span and stride of a conv, a searchable conv or a pool."""
    site = getattr(module, "site", None)
    if isinstance(site, Site):
        spans = zip(*(c.span for c in module.candidates), strict=True)  # type: ignore[union-attr]
        return tuple(map(max, spans)), site.stride
    kernel = getattr(module, "kernel_size", None)
    if kernel is None or isinstance(kernel, Tensor):
        return None
    kernel = _per_axis(kernel, ndim)
    stride, dilation = (
        _per_axis(v, len(kernel)) for v in (getattr(module, "stride", 1) or kernel, getattr(module, "dilation", 1))
    )
    return tuple(d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)), stride


def _per_axis(value: Any, ndim: int) -> tuple[int, ...]:
    axes = (value,) if isinstance(value, int) else tuple(value)
    return axes * ndim if len(axes) == 1 else axes


def _holds_convs(module: nn.Module) -> bool:
    return any(hasattr(m, "kernel_size") or hasattr(m, "site") for m in module.modules())


def _resized(field: Field, before: tuple[int, ...] | None, after: tuple[int, ...]) -> Field:
    axes = len(field.size)
    if before is None or len(after) != axes + 2 or len(before) != axes + 2:
        return Field((GLOBAL,) * axes, field.jump)
    jump = tuple(j * _factor(b, a) for j, b, a in zip(field.jump, before[2:], after[2:], strict=True))
    collapsed = tuple(
        GLOBAL if a == 1 and b > 1 else r for r, b, a in zip(field.size, before[2:], after[2:], strict=True)
    )
    return Field(collapsed, jump)


def _factor(before: int, after: int) -> float:
    """How many steps of the input one step of the output is: a whole factor; padding and cropping leave it at 1."""
    if not before or not after:
        return 1.0
    return float(round(before / after)) if before > after else 1.0 / round(after / before)
