"""A model and a batch go in; a network that ends at its last stage and hands out one small map per stage comes out."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from dashfx.errors import ProxyError
from dashfx.frontend.tracing import evaluation, trace
from dashfx.proxy.gennas.points import Point, Shape, graph_points, has_weights, is_spatial, without_head
from dashfx.proxy.gennas.signals import GRIDS
from dashfx.space import size_text

log = logging.getLogger(__name__)

STAGES = 3
ROUNDS = 4  # of enlarging the input: deeper stages may appear only at a size that keeps them wider than one cell


@dataclass(frozen=True)
class Taps:
    """Where a model is tapped, and at which input size.

    Attributes:
        points: one a stage, first to last; at most three.
        input_size: the size that the batch is brought to, so that each tap has as many cells as a map where the model
            takes that size.
        traced: whether the names are nodes of a graph; otherwise they are modules and the numbers of their calls.
    """

    points: tuple[Point, ...]
    input_size: Shape
    traced: bool

    def summary(self) -> str:
        where = ", ".join(f"{p.name} ({size_text(p.shape[1:])})" for p in self.points)
        return f"input {size_text(self.input_size)}; taps {where}"


class Tapped(nn.Module):
    """A model up to its last tap: (rows, channels, *input size) -> one (rows, channels, *map size) a tap.

    Every tap is resized (nearest) where it arises, so what the model does to it in place later does not reach it.
    """

    def __init__(self, body: nn.Module, taps: Taps) -> None:
        super().__init__()
        self.body = body
        self.taps = taps

    def fit(self, batch: Tensor) -> Tensor:
        """The batch at the input size of the taps."""
        return resized(batch, self.taps.input_size)

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = list(self.body(x))
        for found, point in zip(maps, self.taps.points, strict=True):
            if found.shape[:2] != (len(x), point.shape[1]):
                raise ProxyError(
                    f"tap {point.name!r} is {size_text(found.shape)} on {len(x)} inputs, and had {point.shape[1]} "
                    "channels on two: the model changes with the batch, so its scores would not compare"
                )
        return maps


def tap(module: nn.Module, batch: Tensor) -> Tapped:
    """Find the stages of `module` and end it behind the last one.

    Stages are the last points of the three smallest sizes; where there are fewer sizes, the points at a third, two
    thirds and the end of the layers with weights. A dense model's last stage is the feature before its answer.

    Args:
        batch: (rows, channels, length) or (rows, channels, height, width).

    Raises:
        ProxyError: a batch of another rank or of one row, or a model without a spatial stage.
        ModelError: the model fails on the batch.
    """
    if batch.ndim not in (3, 4) or len(batch) < 2 or not batch.is_floating_point():
        raise ProxyError(
            f"the batch is {size_text(batch.shape)} of {batch.dtype}: give at least two inputs of floats, batch x "
            "channels x length or batch x channels x height x width"
        )
    program = trace(module, batch[:2])
    graph_module = program.graph_module

    def from_graph(x: Tensor, larger: Tensor) -> list[Point]:
        return graph_points(graph_module, x, larger)

    def from_hooks(x: Tensor, larger: Tensor) -> list[Point]:
        return _module_points(program.model, x, larger)

    with evaluation(program.model):
        taps = _at_a_fitting_size(from_graph, batch[:2], traced=True)
        if program.opaque and len(taps.points) < STAGES:
            taps = _at_a_fitting_size(from_hooks, batch[:2], traced=False)
    if not taps.points:
        raise ProxyError(
            f"{type(module).__name__} has no spatial stage: no layer with weights gives batch x channels x size on an "
            f"input of {size_text(batch.shape)}; GenNAS needs a convolutional or a recurrent network"
        )
    log.debug("%s: %s", type(module).__name__, taps.summary())
    side = GRIDS[batch.ndim - 2][0]
    body = _cut(graph_module, taps, side) if taps.traced else _Hooked(program.model, taps, side)
    return Tapped(body, taps)


def resized(batch: Tensor, size: Shape) -> Tensor:
    """(rows, channels, *size), linearly interpolated."""
    if tuple(batch.shape[2:]) == size:
        return batch
    return F.interpolate(batch, size=size, mode="linear" if batch.ndim == 3 else "bilinear")


def _at_a_fitting_size(find: Callable[[Tensor, Tensor], list[Point]], x: Tensor, traced: bool) -> Taps:
    """Enlarge the input until the smallest tap has the cells of a map, or until the model refuses."""
    side, size = GRIDS[x.ndim - 2][0], tuple(x.shape[2:])
    best = Taps(tuple(stages(find(x, _doubled(x)))), size, traced)
    for _ in range(ROUNDS):
        smallest = min((min(p.size) for p in best.points), default=side)
        if smallest >= side:
            return best
        size = tuple(math.ceil(n * side / smallest) for n in size)
        larger = resized(x, size)
        found = stages(find(larger, _doubled(larger)))
        if len(found) < len(best.points):
            log.info("taps stay at %s cells: the model refuses inputs of %s", smallest, size_text(size))
            return best
        best = Taps(tuple(found), size, traced)
    return best


def _doubled(x: Tensor) -> Tensor:
    return resized(x, tuple(2 * n for n in x.shape[2:]))


def stages(points: list[Point]) -> list[Point]:
    """At most three of the points, by size or else by depth; those before the first layer with weights do not count."""
    points = [p for p in points if p.depth]
    last: dict[Shape, Point] = {}
    for point in points:
        last.pop(point.size, None)  # in the order of their last points
        last[point.size] = point
    learned: list[Point] = []
    for point in last.values():  # a size at which nothing is learned, such as a last pooling, is no stage
        if not learned or point.depth > learned[-1].depth:
            learned.append(point)
    if len(learned) >= STAGES:
        return learned[-STAGES:]
    at = [p for p in points if p.size in {stage.size for stage in learned}]
    return list(dict.fromkeys(_nearest(at, at[-1].depth * i / STAGES) for i in range(1, STAGES + 1) if at))


def _nearest(points: list[Point], depth: float) -> Point:
    """The last point at the depth that is closest."""
    return min(reversed(points), key=lambda p: abs(p.depth - depth))


def _cut(graph_module: fx.GraphModule, taps: Taps, side: int) -> fx.GraphModule:
    graph = graph_module.graph
    nodes = {node.name: node for node in graph.nodes}
    maps = []
    for point in taps.points:
        source = nodes[point.name]
        with graph.inserting_after(source):
            maps.append(graph.call_function(_to_map, (source, side)))
    graph.erase_node(list(graph.nodes)[-1])
    graph.output(tuple(maps))
    last = maps[-1]
    for node in reversed(list(graph.nodes)):  # eliminate_dead_code() keeps what may have side effects
        if node.op not in ("placeholder", "output") and not node.users and node is not last:
            graph.erase_node(node)
    graph_module.recompile()
    graph_module.delete_all_unused_submodules()
    graph_module.meta.clear()  # it holds the whole model
    return graph_module


def _to_map(x: Tensor, side: int) -> Tensor:
    return F.interpolate(x, size=(side,) * (x.ndim - 2), mode="nearest")


class _Reached(Exception):
    """The last tap is taken: the rest of the forward is not needed."""


class _Hooked(nn.Module):
    """A model that torch.fx cannot go through, tapped by hooks."""

    def __init__(self, model: nn.Module, taps: Taps, side: int) -> None:
        super().__init__()
        self.model = model
        self._names = [p.name for p in taps.points]
        self._side = side

    def forward(self, x: Tensor) -> list[Tensor]:
        maps: dict[str, Tensor] = {}

        def take(name: str, output: Any) -> None:
            if name in self._names:
                maps[name] = _to_map(output, self._side)
            if len(maps) == len(self._names):
                raise _Reached

        with _calls_seen(self.model, take):
            try:
                self.model(x)
            except _Reached:
                return [maps[name] for name in self._names]
        raise ProxyError(
            f"tap {next(n for n in self._names if n not in maps)!r} is not run on {len(x)} inputs: the model changes "
            "with the batch, so its scores would not compare"
        )


@contextmanager
def _calls_seen(model: nn.Module, seen: Callable[[str, Any], None]) -> Iterator[None]:
    """Inside, `seen` gets the name, number of the call and output of every submodule when it returns."""
    calls: dict[str, int] = {}

    def told(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def leave(_: nn.Module, inputs: Any, output: Any) -> None:
            calls[name] = calls.get(name, 0) + 1
            seen(f"{name}#{calls[name]}", output)

        return leave

    with ExitStack() as hooks:
        for name, module in model.named_modules():
            if name and not isinstance(module, torch.jit.ScriptModule):
                hooks.enter_context(module.register_forward_hook(told(name)))
        yield


def _module_points(model: nn.Module, x: Tensor, larger: Tensor) -> list[Point]:
    """Points of a model without a graph: its modules' outputs, in the order in which they return."""

    def run(batch: Tensor) -> tuple[dict[str, Point], Any]:
        found: dict[str, Point] = {}
        depth = 0

        def note(name: str, output: Any) -> None:
            nonlocal depth
            module = model.get_submodule(name.partition("#")[0])
            depth += has_weights(module) and not any(True for _ in module.children())
            if isinstance(output, Tensor):
                found[name] = Point(name, tuple(output.shape), depth)

        answer = None
        with _calls_seen(model, note):
            try:
                answer = model(batch)
            except Exception:  # user code at a size that the user did not give may raise anything
                log.debug("no answer at %s", size_text(batch.shape))
        return found, answer

    here, answer = run(x)
    there, _ = run(larger)
    points = [p for p in here.values() if is_spatial(p.shape, there[p.name].shape if p.name in there else None, x)]
    dense = isinstance(answer, Tensor) and answer.ndim == x.ndim
    return without_head(points) if dense and points else points
