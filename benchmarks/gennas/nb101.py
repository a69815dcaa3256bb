"""A cell of NAS-Bench-101 goes in; its network, and the published accuracies of a sample of cells, come out.

The space is defined in Ying et al., "NAS-Bench-101: Towards Reproducible Neural Architecture Search" (ICML 2019): a
directed graph of at most seven vertices, whose inner ones are 3x3 convs, 1x1 convs or 3x3 max pooling.
"""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.gennas.nb201 import sum_of

OPERATIONS = {2: "maxpool3x3", 3: "conv1x1", 4: "conv3x3"}  # as the sample numbers them; 0 input, 1 output
VERTICES = 7


@dataclass(frozen=True)
class Cell101:
    """Edges of the graph, vertex 0 the input and the last one the output; operations of the vertices between."""

    edges: frozenset[tuple[int, int]]
    operations: tuple[str, ...]

    @property
    def last(self) -> int:
        return len(self.operations) + 1

    def into(self, vertex: int) -> list[int]:
        """The vertices with an edge to `vertex`, ascending."""
        return sorted(source for source, target in self.edges if target == vertex)

    def channels(self, in_channels: int, out_channels: int) -> list[int]:
        """Channels of every vertex: those that feed the output share its channels, the others take what follows needs.

        The first ones get one more where the division leaves a rest.
        """
        feeding = [v for v in self.into(self.last) if v != 0]
        widths = [in_channels, *[0] * len(self.operations), out_channels]
        for place, vertex in enumerate(feeding):
            widths[vertex] = out_channels // len(feeding) + (place < out_channels % len(feeding))
        for vertex in range(self.last - 2, 0, -1):
            if vertex not in feeding:
                widths[vertex] = max(widths[t] for s, t in self.edges if s == vertex and t != self.last)
        return widths


def parse(key: str) -> Cell101:
    """A key of the sample: the rows of a 7 x 7 adjacency matrix, then a number per vertex.

    A graph with fewer vertices is padded at its end. Vertices on no path from input to output are left out.

    Raises:
        ValueError: not 56 numbers.
    """
    numbers = [int(n) for n in key.strip("()").split(",")]
    if len(numbers) != VERTICES**2 + VERTICES:
        raise ValueError(f"{key!r} is no key of the NAS-Bench-101 sample: expected 56 numbers")
    matrix, kinds = numbers[: VERTICES**2], numbers[VERTICES**2 :]
    edges = {divmod(i, VERTICES) for i, bit in enumerate(matrix) if bit}
    output = kinds.index(1)
    forward, backward = _reach(edges, 0), _reach({(t, s) for s, t in edges}, output)
    kept = [v for v in range(output + 1) if v in forward and v in backward]
    place = {vertex: i for i, vertex in enumerate(kept)}
    inner = tuple(OPERATIONS[kinds[v]] for v in kept[1:-1])
    return Cell101(frozenset((place[s], place[t]) for s, t in edges if s in place and t in place), inner)


def network(arch: str, width: int = 128, cells: int = 3, num_classes: int = 10) -> nn.Module:
    """The network of a key of the sample."""
    return build(parse(arch), width, cells, num_classes)


def build(cell: Cell101, width: int = 128, cells: int = 3, num_classes: int = 10) -> nn.Module:
    """The stem, three stacks of `cells` cells; max pooling before the second and third, where channels double."""
    layers, before = _conv(3, width, 3), width
    for stage in range(3):
        channels = width * 2**stage
        if stage:
            layers.append(nn.MaxPool2d(2))
        for _ in range(cells):
            layers.append(Module101(cell, before, channels))
            before = channels
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, num_classes))


class Module101(nn.Module):
    """A cell with its channels.

    A vertex takes the sum of its inputs: other vertices cut to its channels, the cell's input through a 1x1 conv. The
    output concatenates what feeds it and adds the cell's input, where there is an edge, through a 1x1 conv.
    """

    def __init__(self, cell: Cell101, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.cell = cell
        self.widths = cell.channels(in_channels, out_channels)
        self.vertices = nn.ModuleDict(
            {str(v): _operation(name, self.widths[v]) for v, name in enumerate(cell.operations, 1)}
        )
        self.projections = nn.ModuleDict(
            {str(t): nn.Sequential(*_conv(in_channels, self.widths[t], 1)) for s, t in sorted(cell.edges) if s == 0}
        )

    def forward(self, x: Tensor) -> Tensor:
        values: dict[int, Tensor] = {}
        for vertex, operation in self.vertices.items():
            width = self.widths[int(vertex)]
            terms = [values[s][:, :width] for s in self.cell.into(int(vertex)) if s]
            if vertex in self.projections:
                terms.append(self.projections[vertex](x))
            values[int(vertex)] = operation(sum_of(terms))
        terms = [torch.cat([values[s] for s in self.cell.into(self.cell.last) if s], 1)] if values else []
        if str(self.cell.last) in self.projections:
            terms.append(self.projections[str(self.cell.last)](x))
        return sum_of(terms)


def accuracies(path: Path) -> dict[str, float]:
    """Key -> validation accuracy in percent, from `naslib_zc_nasbench101.json`.

    The sample draws from all matrices, so it repeats graphs (after what is on no path is left out), with another
    accuracy each time: the first key of a graph stands for all, with their mean.
    """
    found: dict[Cell101, tuple[str, list[float]]] = {}
    for key, facts in json.loads(path.read_text())["nasbench101"]["cifar10"].items():
        found.setdefault(parse(key), (key, []))[1].append(facts["val_accuracy"])
    return {key: statistics.mean(values) for key, values in found.values()}


def _operation(name: str, channels: int) -> nn.Module:
    if name == "maxpool3x3":
        return nn.MaxPool2d(3, 1, padding=1)
    return nn.Sequential(*_conv(channels, channels, int(name[-1])))


def _conv(in_channels: int, out_channels: int, kernel: int) -> list[nn.Module]:
    conv = nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, bias=False)
    return [conv, nn.BatchNorm2d(out_channels), nn.ReLU()]


def _reach(edges: set[tuple[int, int]], start: int) -> set[int]:
    """The vertices that can be reached from `start`, itself among them."""
    found, fresh = {start}, {start}
    while fresh:
        fresh = {target for source, target in edges if source in fresh} - found
        found |= fresh
    return found
