"""An architecture string of NAS-Bench-201 goes in; its network and its published accuracies come out.

The space is defined in Dong and Yang, "NAS-Bench-201: Extending the Scope of Reproducible Neural Architecture Search"
(ICLR 2020): a cell of four nodes, one of five operations on each of its six edges.
"""

from __future__ import annotations

import json
from pathlib import Path

from torch import Tensor, nn

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
SOURCES = (0, 0, 1, 0, 1, 2)  # of the edges in the order of the string; they end in nodes 1, 2, 2, 3, 3, 3
TARGETS = (1, 2, 2, 3, 3, 3)
DATASETS = ("cifar10", "cifar100", "imagenet16")


def parse(arch: str) -> tuple[str, ...]:
    """The six operations of `|op~0|+|op~0|op~1|+|op~0|op~1|op~2|`.

    Raises:
        ValueError: not such a string.
    """
    edges = [edge for node in arch.split("+") for edge in node.strip("|").split("|")]
    operations = tuple(edge.partition("~")[0] for edge in edges)
    if write(operations) != arch or not set(operations) <= set(OPERATIONS):
        raise ValueError(f"{arch!r} is no architecture of NAS-Bench-201")
    return operations


def write(operations: tuple[str, ...]) -> str:
    """The string of six operations."""
    nodes: dict[int, list[str]] = {1: [], 2: [], 3: []}
    for operation, source, target in zip(operations, SOURCES, TARGETS, strict=False):
        nodes[target].append(f"{operation}~{source}")
    return "+".join(f"|{'|'.join(edges)}|" for edges in nodes.values())


def network(arch: str, cells: int = 5, width: int = 16, num_classes: int = 10) -> nn.Module:
    """The stem and three stages of `cells` cells; channels double in a residual block before the second and third."""
    operations = parse(arch)
    layers: list[nn.Module] = [nn.Conv2d(3, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)]
    for stage in range(3):
        channels = width * 2**stage
        if stage:
            layers.append(Reduction(channels // 2, channels))
        layers += [Cell(operations, channels) for _ in range(cells)]
    layers += [nn.BatchNorm2d(channels), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(channels, num_classes))


class Cell(nn.Module):
    """Every node is the sum of its edges' operations; the last node is the output."""

    def __init__(self, operations: tuple[str, ...], channels: int) -> None:
        super().__init__()
        self.edges = nn.ModuleList(_operation(name, channels) for name in operations)

    def forward(self, x: Tensor) -> Tensor:
        nodes = [x]
        for target in (1, 2, 3):
            edges = zip(self.edges, SOURCES, TARGETS, strict=True)
            nodes.append(sum_of([edge(nodes[s]) for edge, s, t in edges if t == target]))
        return nodes[-1]


class Reduction(nn.Module):
    """Two 3x3 convs, the first with stride 2, beside average pooling and a 1x1 conv."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(*_conv(in_channels, out_channels, 3, 2), *_conv(out_channels, out_channels, 3))
        self.shortcut = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(in_channels, out_channels, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        return self.shortcut(x) + self.body(x)


class Zero(nn.Module):
    """Nothing passes."""

    def forward(self, x: Tensor) -> Tensor:
        return x * 0


def sum_of(terms: list[Tensor]) -> Tensor:
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


def accuracies(path: Path, dataset: str = "cifar10") -> dict[str, float]:
    """Architecture string -> published test accuracy, from `nasbench201_test_accuracy.json`."""
    table = json.loads(path.read_text())
    return dict(zip(table["arch"], table[dataset], strict=True))


def _operation(name: str, channels: int) -> nn.Module:
    if name == "none":
        return Zero()
    if name == "skip_connect":
        return nn.Identity()
    if name == "avg_pool_3x3":
        return nn.AvgPool2d(3, 1, padding=1, count_include_pad=False)
    return nn.Sequential(*_conv(channels, channels, int(name[-1])))


def _conv(in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> list[nn.Module]:
    conv = nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, bias=False)
    return [nn.ReLU(), conv, nn.BatchNorm2d(out_channels)]
