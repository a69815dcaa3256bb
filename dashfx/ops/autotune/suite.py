"""Benchmark suite of layers by which algorithms are compared: a layer goes in, its times and memory come out."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dashfx.ops.aggconv import AggConv
from dashfx.ops.algorithms import ALGORITHMS
from dashfx.ops.autotune.choose import tune
from dashfx.ops.autotune.timing import Clock, Step, Timing, in_turns, peak_bytes
from dashfx.space import SearchSpace

PLAIN = "plain conv"  # 3 taps: what the user's network pays for the layer today
AUTO = "auto"  # the fastest of the algorithms as `dashfx.ops.autotune.choose` measures it
WAYS = (PLAIN, AUTO, *ALGORITHMS)
# `mixed_weights` takes minutes and gigabytes where a span is wide: only on demand.
COMPARED = (PLAIN, AUTO, "fourier", "grouped_dilation", "mixed_results")
CONVS: dict[int, type[nn.Conv1d] | type[nn.Conv2d] | type[nn.Conv3d]] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


@dataclass(frozen=True)
class Layer:
    """A conv with 3 taps an axis and "same" padding, the size of its input and its batch."""

    in_channels: int
    out_channels: int
    size: tuple[int, ...]
    batch: int
    stride: int = 1
    groups: int = 1

    @property
    def ndim(self) -> int:
        return len(self.size)

    @property
    def name(self) -> str:
        if self.in_channels == self.groups == self.out_channels:
            kind = f"depthwise {self.in_channels}"
        else:
            kind = f"{self.in_channels}->{self.out_channels}"
            kind += f" in {self.groups} groups" if self.groups > 1 else ""
        kind += f" /{self.stride}" if self.stride > 1 else ""
        return f"{self.ndim}-D {kind} at {'x'.join(map(str, self.size))}, batch {self.batch}"

    def space(self) -> SearchSpace:
        """The paper's K x D for the layer's dimension."""
        return SearchSpace.preset("dash1d" if self.ndim == 1 else "dash2d")

    def aggconv(self, algorithm: str = "auto", space: SearchSpace | None = None) -> AggConv:
        strides = (self.stride,) * self.ndim
        return AggConv(
            self.in_channels,
            self.out_channels,
            space or self.space(),
            stride=strides,
            padding=1,
            original=(3, 1),
            groups=self.groups,
            algorithm=algorithm,
        )

    def plain(self) -> nn.Module:
        return CONVS[self.ndim](self.in_channels, self.out_channels, 3, self.stride, 1, groups=self.groups)

    def input(self) -> Tensor:
        return torch.randn(self.batch, self.in_channels, *self.size, generator=torch.Generator().manual_seed(0))


SUITE: tuple[Layer, ...] = (
    Layer(16, 16, (32, 32), 64),
    Layer(16, 32, (32, 32), 64, stride=2),
    Layer(32, 32, (16, 16), 64),
    Layer(64, 64, (8, 8), 64),
    Layer(16, 16, (85, 85), 10),
    Layer(57, 16, (128, 128), 4),
    Layer(96, 96, (56, 56), 8, groups=96),
    Layer(64, 64, (28, 28), 8, groups=8),
    Layer(16, 16, (1000,), 64),
    Layer(64, 64, (1000,), 64),
    Layer(64, 64, (46,), 256),
    Layer(128, 128, (1024,), 8, groups=128),
    Layer(16, 16, (16384,), 4),
    Layer(8, 8, (16, 16, 16), 4),
)


@dataclass(frozen=True)
class Measured:
    """One way to compute a layer: times of forward + backward, and the most bytes held at once."""

    way: str
    time: Timing
    peak_bytes: int


def training_step(module: nn.Module, x: Tensor) -> Step:
    """Forward and backward for the input and all parameters."""
    inputs = [x.detach().requires_grad_(), *module.parameters()]
    with torch.no_grad():
        grad = torch.randn_like(module(x))
    return lambda: torch.autograd.grad(module(inputs[0]), inputs, grad)


def compare(
    layer: Layer,
    ways: Iterable[str] = COMPARED,
    *,
    device: torch.device,
    repeats: int = 5,
    clock: Clock = time.perf_counter,
) -> list[Measured]:
    """The layer by an algorithm's name, by the tuned choice, or as the plain conv; they take turns."""
    ways, x = list(ways), layer.input().to(device)
    steps = []
    for way in ways:
        module = (layer.plain() if way == PLAIN else layer.aggconv(way)).to(device)
        if way == AUTO:
            tune(module, x)
        steps.append(training_step(module, x))
    times = in_turns(steps, device, repeats, clock=clock)
    return [
        Measured(way, timing, peak_bytes(step, device)) for way, timing, step in zip(ways, times, steps, strict=True)
    ]
