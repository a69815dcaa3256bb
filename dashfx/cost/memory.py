"""Peak memory of a network's activations: by the lifetimes of tensors, in the order in which the graph is executed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, fx

from dashfx.cost.base import BYTES, TotalCost, one_row
from dashfx.frontend.recording import tensors_in
from dashfx.frontend.tracing import Program, evaluation
from dashfx.site import Site
from dashfx.space import Candidate


@dataclass(frozen=True)
class Memory(TotalCost):
    """Bytes of all activations that are alive at once, at most, for one row of input.

    1. An output comes to life when it is made, and dies after its last reader; inputs live from the start, what the
       model returns to the end.
    2. Views, and what is written in place, are one tensor.
    3. What lives and dies inside a module that the graph shows as one node is not seen.

    By the shape contract no choice of kernels changes it.
    """

    paper: ClassVar[str] = "King et al., MicroNAS: Memory and Latency Constrained Hardware-Aware NAS, 2025"
    row: ClassVar[str] = "25"
    unit: ClassVar[str] = "bytes"
    units: ClassVar[Mapping[str, float]] = BYTES

    def at(self, site: Site, candidate: Candidate) -> float:
        return 0.0

    def whole(self, program: Program) -> float:
        with evaluation(program.model):
            return peak(lifetimes(program.graph_module, [one_row(program), *program.example[1:]]))


@dataclass(frozen=True)
class Lifetime:
    """A piece of memory: its bytes, and the numbers of the nodes that make it and read it last."""

    bytes: int
    made: int
    last: int


def peak(lives: Sequence[Lifetime]) -> int:
    """The most bytes that are alive during any node."""
    changes: dict[int, int] = {}
    for life in lives:
        changes[life.made] = changes.get(life.made, 0) + life.bytes
        changes[life.last + 1] = changes.get(life.last + 1, 0) - life.bytes
    alive = most = 0
    for place in sorted(changes):
        alive += changes[place]
        most = max(most, alive)
    return most


def lifetimes(graph_module: fx.GraphModule, example: Sequence[Any]) -> list[Lifetime]:
    """What a run on the example makes, whatever holds it: parameters and buffers are no activations."""
    nodes = list(graph_module.graph.nodes)
    results = _Kept(graph_module, garbage_collect_values=False)  # so that no address is used twice
    results.run(*example)
    own = {_address(t) for t in (*graph_module.parameters(), *graph_module.buffers())}
    held = {node: {_address(t): _bytes(t) for t in tensors_in(results.found.get(node))} for node in nodes}
    made: dict[int, int] = {}
    last: dict[int, int] = {}
    size: dict[int, int] = {}
    for place, node in enumerate(nodes):
        read = {address for source in node.all_input_nodes for address in held[source]}
        for address in {*held[node], *read} - own:
            made.setdefault(address, place)
            last[address] = place
        size |= held[node]
    inputs = {address for node in nodes if node.op == "placeholder" for address in held[node]}
    return [Lifetime(size[each], 0 if each in inputs else made[each], last[each]) for each in made]


class _Kept(fx.Interpreter):
    """Keeps the result of every node."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.found: dict[fx.Node, Any] = {}

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        self.found[n] = result
        return result


def _address(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _bytes(tensor: Tensor) -> int:
    return tensor.untyped_storage().nbytes()
