"""Networks of the benchmark on series: the 1-D WRN with other kernels, with several kernels a conv, or wider."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dashfx import Candidate, Genotype, SearchSpace, rewrite
from dashfx.backbones import WRN1d
from dashfx.ops import sites_of
from dashfx.strategies.rules import RandomChoice
from dashfx.supernet import specialise
from dashfx.train.fit import derive_seed

WIDTH = 8
SPACE = SearchSpace.preset("dash1d").with_original()
How = Literal["channels", "sum"]


@dataclass(frozen=True)
class Shape:
    """What a network is built for: the number of classes and (channels, length) of a row."""

    classes: int
    size: tuple[int, int]

    @property
    def example(self) -> Tensor:
        return torch.zeros(2, *self.size)

    def fits(self, candidate: Candidate) -> bool:
        return candidate.span[0] <= self.size[1]


class SeveralKernels(nn.Module):
    """A conv with several kernels: they share its output channels (MixConv, Tan and Le 2019), or are summed.

    It is computed as one convolution with a kernel of the largest span, into which the parts are written: three small
    convs would cost more, as calls are what a short series takes its time by.

    Args:
        parts: kernel and dilation of each part.

    Shapes:
        (N, in_channels, L) -> (N, out_channels, L)
    """

    def __init__(self, conv: nn.Conv1d, parts: Sequence[Candidate], how: How) -> None:
        super().__init__()
        if any(part.span[0] % 2 == 0 for part in parts) or conv.stride != (1,) or conv.groups != 1:
            raise ValueError("parts of odd spans in place of a conv of stride 1 without groups")
        self.parts, self.how = tuple(parts), how
        self.span = max(part.span[0] for part in parts)
        self.weights = nn.ParameterList()
        for part, channels in zip(parts, shares(conv.out_channels, len(parts), how), strict=True):
            own = nn.Conv1d(conv.in_channels, channels, part.kernel[0], bias=False)  # drawn by its own fan-in
            self.weights.append(own.weight)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv1d(x, self.kernel(), padding=self.span // 2)

    def kernel(self) -> Tensor:
        """(out_channels, in_channels, largest span)"""
        placed = [self._placed(weight, part) for weight, part in zip(self.weights, self.parts, strict=True)]
        return torch.cat(placed) if self.how == "channels" else torch.stack(placed).sum(0)

    def _placed(self, weight: Tensor, part: Candidate) -> Tensor:
        if part.dilation[0] > 1:
            spread = weight.new_zeros(*weight.shape[:2], part.span[0])
            spread[..., :: part.dilation[0]] = weight
            weight = spread
        side = (self.span - part.span[0]) // 2
        return F.pad(weight, (side, side))


def shares(channels: int, parts: int, how: How) -> list[int]:
    """Output channels of each part; of a remainder the first parts take one each."""
    if how == "sum":
        return [channels] * parts
    return [channels // parts + (number < channels % parts) for number in range(parts)]


def backbone(shape: Shape, seed: int, width: int = WIDTH) -> WRN1d:
    """Weights are drawn by the seed alone."""
    torch.manual_seed(derive_seed(seed, "weights"))
    return WRN1d(shape.classes, shape.size[0], width)


def uniform(shape: Shape, seed: int, candidate: Candidate) -> nn.Module:
    """The same kernel in every conv that has more than one tap."""
    model = backbone(shape, seed)
    return specialise(model, shape.example, Genotype(dict.fromkeys(searched(model), candidate)), "fresh")


def with_genotype(shape: Shape, seed: int, genotype: Genotype) -> nn.Module:
    return specialise(backbone(shape, seed), shape.example, genotype, "fresh")


def several(shape: Shape, seed: int, parts: Sequence[Candidate], how: How) -> nn.Module:
    """Every conv of more than one tap with its own kernel and those of `parts` that are no wider than the input."""
    model = backbone(shape, seed)
    fitting = [part for part in parts if shape.fits(part)]
    for name, conv in searched(model).items():
        own = Candidate(conv.kernel_size[0])
        parent, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(parent), leaf, SeveralKernels(conv, [own, *fitting], how))
    return model


def searched(model: nn.Module) -> dict[str, nn.Conv1d]:
    """The convs that a search would choose for, by name."""
    return {n: m for n, m in model.named_modules() if isinstance(m, nn.Conv1d) and m.kernel_size != (1,)}


def supernet(shape: Shape, seed: int) -> nn.Module:
    made: nn.Module = rewrite(backbone(shape, seed), shape.example, SPACE, "fresh")
    return made


def random_genotype(shape: Shape, seed: int) -> Genotype:
    return RandomChoice(seed).select(sites_of(supernet(shape, seed)))


def parameters_of(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def macs_of(model: nn.Module, shape: Shape) -> int:
    """Multiply-adds of convs and matrix products for one row; of several kernels the taps that there are."""
    total, handles = 0, []

    def count(module: nn.Module, _: object, output: Tensor) -> None:
        nonlocal total
        weights = [p for name, p in module.named_parameters() if name != "bias"]
        positions = output.shape[-1] if output.ndim == 3 else 1
        total += sum(weight.numel() for weight in weights) * positions

    for module in model.modules():
        if isinstance(module, nn.Conv1d | nn.Linear | SeveralKernels):
            handles.append(module.register_forward_hook(count))
    with torch.no_grad():
        model.eval()(shape.example[:1])
    for handle in handles:
        handle.remove()
    return total
