"""Family, the base: what an option computes, as a map from its own parameters to the kernel of a conv.

Every linear shift-invariant operation is a kernel: a grouped conv has zeros between its groups, a skip is a Dirac, an
average pool is constant. So options of all families are mixed in one conv, by any algorithm (after MergeNAS, Wang et
al., IJCAI 2020, where the operations are dense convs).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from dashfx.frontend.convs import plain_conv
from dashfx.frontend.shared import parts_in
from dashfx.ops.geometry import ConvSpec
from dashfx.site import Site
from dashfx.space import Candidate

Size = tuple[int, ...]


class Family(ABC):
    """The options of one kind; stateless.

    Its laws, which one parametrised test holds every family to: `kernel` gives what `module`, filled with `plain`,
    computes; `kernel` of what `fit` makes of its own kernels gives them back.

    Attributes:
        biased: whether the conv's bias is part of it.
        exact: whether any kernel of the candidate's size is one of its own.
        shares: whether all candidates of a bound family have the same parameters.
    """

    biased: ClassVar[bool] = True
    exact: ClassVar[bool] = False
    shares: ClassVar[bool] = False

    @abstractmethod
    def shapes(self, site: Site, candidate: Candidate) -> tuple[Size, ...]:
        """Of its parameters, each (out, in, ...)."""

    @abstractmethod
    def kernel(self, theta: Sequence[Tensor], site: Site, candidate: Candidate, like: Tensor) -> Tensor:
        """(out, in / groups, *kernel) of the parameters `theta`, with gradient; what is constant is like `like`."""

    @abstractmethod
    def fit(self, kernel: Tensor, theta: Sequence[Tensor], site: Site, candidate: Candidate) -> list[Tensor]:
        """The parameters whose kernel is nearest, in the sum of squares, to this one; `theta` is what they were."""

    @abstractmethod
    def module(self, site: Site, candidate: Candidate, device: torch.device, dtype: torch.dtype) -> nn.Module:
        """What it is lowered to, of torch.nn alone; the weights of its convs are for the caller to fill."""

    @abstractmethod
    def run(self, x: Tensor, theta: Sequence[Tensor], site: Site, spec: ConvSpec, bias: Tensor | None = None) -> Tensor:
        """The candidate of `spec` alone: (batch, in, *size) -> (batch, out, *output_size)."""

    def plain(self, theta: Sequence[Tensor], site: Site, candidate: Candidate) -> list[Tensor]:
        """The weights of the convs in `module`, in order."""
        return list(theta)

    def misfit(self, site: Site, candidate: Candidate) -> str | None:
        """Why the conv cannot be replaced by it, or None."""
        return None

    def weights(self, site: Site, candidate: Candidate) -> int:
        """Numbers in the weights of `module`, each of which is one multiply-add per output position."""
        return sum(torch.Size(shape).numel() for shape in self.shapes(site, candidate))

    def bound(self, site: Site, shape: Size) -> float:
        """What a fresh parameter of this shape lies within, as nn.Conv's: 1 / sqrt(fan_in)."""
        return float(math.prod(shape[1:]) ** -0.5)

    def bind(self, site: Site, candidates: Sequence[Candidate]) -> Family:
        """The family as these candidates of it have it at a site, where they have parameters in common."""
        return self

    def chosen(self, candidate: Candidate) -> Candidate:
        """How the candidate stands in a genotype."""
        return candidate


def conv_module(
    site: Site, candidate: Candidate, device: torch.device, dtype: torch.dtype, bias: bool | None = None, **facts: int
) -> nn.Module:
    """A torch.nn conv at the site, with other channels or groups where `facts` has them."""
    own = replace(site, bias=site.bias if bias is None else bias, **facts)  # type: ignore[arg-type]
    return plain_conv(own, candidate, device, dtype)


@torch.no_grad()
def fill(module: nn.Module, weights: Sequence[Tensor], bias: Tensor | None) -> nn.Module:
    """The module that a family made, with its convs' weights, and the bias at the one of them that has one."""
    parts = parts_in(module)
    for part, weight in zip(parts, weights, strict=False):  # one that is constant has its weight already
        part.weight.copy_(weight)
    for part in parts:
        if bias is not None and part.bias is not None:
            part.bias.copy_(bias)
    return module
