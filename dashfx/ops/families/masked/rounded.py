"""Rounded convs, the base: kernels of the nearest allowed numbers, with the gradients of the free ones.

The gradients pass straight through, after Bengio, Leonard and Courville, "Estimating or Propagating Gradients Through
Stochastic Neurons for Conditional Computation", 2013.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from dashfx.ops.families.dense import Dense
from dashfx.site import Site
from dashfx.space import Candidate


class Rounded(Dense):
    """A dense conv whose parameter is free, and whose kernel is what `rounded` makes of it."""

    exact: ClassVar[bool] = False
    linear: ClassVar[bool] = False

    @abstractmethod
    def rounded(self, weight: Tensor) -> Tensor:
        """(out, in / groups, *kernel) -> the same with allowed numbers; `weight` needs no gradient."""

    def kernel(self, theta: Sequence[Tensor], site: Site, candidate: Candidate, like: Tensor) -> Tensor:
        return straight(theta[0], self.rounded(theta[0].detach()))

    def plain(self, theta: Sequence[Tensor], site: Site, candidate: Candidate) -> list[Tensor]:
        return [self.rounded(theta[0].detach())]


def straight(weight: Tensor, value: Tensor) -> Tensor:
    """`value`, bit for bit, with the gradient of `weight`."""
    return _Straight.apply(weight, value)


class _Straight(torch.autograd.Function):
    """Not weight + (value - weight).detach(), which rounds."""

    @staticmethod
    def forward(ctx: object, weight: Tensor, value: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def backward(ctx: object, *slopes: Tensor) -> tuple[Tensor, None]:
        return slopes[0], None
