"""Hypothesis strategies: small networks in every shape that a site can have, and search spaces for them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from hypothesis import strategies as st
from torch import Tensor, nn

from dashfx.space import Candidate, SearchSpace

CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
MODES = ("zeros", "zeros", "circular", "reflect", "replicate")
WEIGHT_NORMS = {"hook": nn.utils.weight_norm, "parametrization": nn.utils.parametrizations.weight_norm}
CHANNELS = 4
# Room that the spaces below need on one side of a conv of two taps or more.
GROWTH = 4


@dataclass(frozen=True)
class Layer:
    """One conv and what stands around it. `padding`: "same", "valid", "pad" or "chomp" (causal), or an int."""

    kernel: int = 3
    dilation: int = 1
    stride: int = 1
    groups: int = 1
    bias: bool = True
    padding: str | int = "same"
    mode: str = "zeros"
    norm: bool = False
    weight_norm: str = ""
    residual: bool = False
    twice: bool = False

    @property
    def extent(self) -> int:
        return self.dilation * (self.kernel - 1)

    @property
    def keeps_size(self) -> bool:
        return self.stride == 1 and self.padding in ("same", "pad", "chomp")

    def sides(self) -> int:
        """Padding on both sides together."""
        return {"valid": 0}.get(str(self.padding), self.extent) if isinstance(self.padding, str) else 2 * self.padding

    def output_size(self, size: int) -> int:
        return (size + self.sides() - self.extent - 1) // self.stride + 1


class Stage(nn.Module):
    """A Layer as modules."""

    def __init__(self, layer: Layer, ndim: int) -> None:
        super().__init__()
        self.layer = layer
        inner: str | int = {"pad": 0, "chomp": layer.extent}.get(str(layer.padding), layer.padding)
        conv = CONVS[ndim - 1](
            CHANNELS,
            CHANNELS,
            layer.kernel,
            layer.stride,
            inner,
            layer.dilation,
            layer.groups,
            layer.bias,
            padding_mode=layer.mode,
        )
        self.conv = WEIGHT_NORMS[layer.weight_norm](conv) if layer.weight_norm else conv
        self.norm = NORMS[ndim - 1](CHANNELS) if layer.norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(1 + self.layer.twice):
            y = F.pad(x, (self.layer.extent, 0)) if self.layer.padding == "pad" else x
            y = self.conv(y)
            y = y[..., : -self.layer.extent] if self.layer.padding == "chomp" else y
            y = self.norm(y)
            x = torch.relu(y) + x if self.layer.residual else torch.tanh(y)
        return x


class Net(nn.Module):
    """Stages one after another, and a linear head over the mean."""

    def __init__(self, layers: Iterable[Layer], ndim: int) -> None:
        super().__init__()
        self.stages = nn.Sequential(*(Stage(layer, ndim) for layer in layers))
        self.head = nn.Linear(CHANNELS, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.stages(x).flatten(2).mean(2))


@dataclass(frozen=True)
class Network:
    """A network to build, small enough for float64 and many examples."""

    layers: tuple[Layer, ...]
    ndim: int
    size: tuple[int, ...]

    def model(self, dtype: torch.dtype = torch.float64) -> nn.Module:
        """In eval mode, with batch-norm statistics that are not those of an untrained network."""
        generator = torch.Generator().manual_seed(0)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = Net(self.layers, self.ndim).to(dtype).eval()
        for norm in model.modules():
            if isinstance(norm, NORMS):
                norm.running_mean.uniform_(-0.5, 0.5, generator=generator)
                norm.running_var.uniform_(0.5, 1.5, generator=generator)
        return model

    def example(self, dtype: torch.dtype = torch.float64) -> Tensor:
        """(2, channels, *size)"""
        return torch.randn(2, CHANNELS, *self.size, dtype=dtype, generator=torch.Generator().manual_seed(1))


@st.composite
def layers(draw: st.DrawFn, ndim: int, size: int) -> Layer:
    """A layer that fits an input whose smallest axis is `size`, also with the candidates of `spaces`."""
    kernel = draw(st.integers(2, 5 if ndim < 3 else 3))
    layer = Layer(
        kernel=kernel,
        dilation=draw(st.integers(1, 2 if ndim < 3 and kernel < 4 else 1)),
        stride=draw(st.sampled_from((1, 1, 2, 3))),
        groups=draw(st.sampled_from((1, 2, CHANNELS))),
        bias=draw(st.booleans()),
        mode=draw(st.sampled_from(MODES)),
        norm=draw(st.booleans()),
        weight_norm=draw(st.sampled_from(("", "", *WEIGHT_NORMS))),
    )
    paddings: list[str | int] = [layer.extent // 2, layer.extent // 2 + 1]
    paddings += ["valid"] if size - layer.extent > 6 else []
    paddings += ["same"] if layer.stride == 1 else []
    paddings += ["pad", "chomp"] if ndim == 1 and layer.stride == 1 else []
    layer = replace(layer, padding=draw(st.sampled_from(paddings)))
    if layer.padding in ("pad", "chomp") or layer.sides() - layer.sides() // 2 + GROWTH >= size:
        layer = replace(layer, mode="zeros")
    if layer.keeps_size:
        layer = replace(layer, residual=draw(st.booleans()), twice=draw(st.booleans()))
    return layer


@st.composite
def cnns(draw: st.DrawFn, ndims: tuple[int, ...] = (1, 2, 3)) -> Network:
    """Networks of one to three convs: kernel, dilation, stride, groups, bias, norm, residual, convs called twice."""
    ndim = draw(st.sampled_from(ndims))
    low, high = {1: (9, 24), 2: (7, 12), 3: (5, 7)}[ndim]
    size = tuple(draw(st.integers(low, high)) for _ in range(ndim))
    found, smallest = [], min(size)
    for _ in range(draw(st.integers(1, 3 if ndim < 3 else 2))):
        layer = draw(layers(ndim, smallest))
        if layer.output_size(smallest) < 2:
            continue
        found.append(layer)
        smallest = layer.output_size(smallest)
    return Network(tuple(found) or (Layer(),), ndim, size)


@st.composite
def spaces(draw: st.DrawFn) -> SearchSpace:
    """One to four candidates of at most 8 between the first and the last tap; even kernels and kernel 1 too."""
    choice = st.builds(Candidate, st.integers(1, 5), st.integers(1, 2))
    choices = draw(st.lists(choice, min_size=1, max_size=4, unique=True))
    return SearchSpace(tuple(choices), keep_original=draw(st.booleans()))
