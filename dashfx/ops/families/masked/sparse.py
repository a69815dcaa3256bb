"""Sparse convs: of a dense kernel the numbers of the largest modulus, the others are 0.

After Mousavi, Loni, Alibeigi and Daneshtalab, "DASS: Differentiable Architecture Search for Sparse Neural Networks",
2022, whose masks are learned; here they follow the weights, with gradients straight through (Bengio et al., 2013).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from dashfx.ops.families.alone import alone
from dashfx.ops.families.dense import Dense
from dashfx.ops.geometry import ConvSpec
from dashfx.site import Site
from dashfx.space import Candidate


@dataclass(frozen=True)
class Sparse(Dense):
    """weight * [among the `share` of largest modulus], with the gradient of the weight itself.

    Lowered to a plain conv that holds zeros; a training of the lowered model fills them, so what is to stay sparse is
    taken with `retrain.weights=inherit` and not trained. ONNX Runtime is no faster for zeros.

    Args:
        share: of the numbers that stay.
    """

    share: Annotated[float, Field(gt=0, le=1)] = 0.2
    exact: ClassVar[bool] = False
    linear: ClassVar[bool] = False
    paper: ClassVar[str] = "after Mousavi et al., DASS: Differentiable Architecture Search for Sparse NNs, 2022"
    row: ClassVar[str] = "26"

    def kernel(self, theta: Sequence[Tensor], site: Site, candidate: Candidate, like: Tensor) -> Tensor:
        return straight(theta[0], largest(theta[0].detach(), self.share))

    def plain(self, theta: Sequence[Tensor], site: Site, candidate: Candidate) -> list[Tensor]:
        return [largest(theta[0].detach(), self.share)]

    def run(self, x: Tensor, theta: Sequence[Tensor], site: Site, spec: ConvSpec, bias: Tensor | None = None) -> Tensor:
        return alone(x, self.kernel(theta, site, spec.candidates[0], x), spec, bias)


def largest(weight: Tensor, share: float) -> Tensor:
    """Like `weight`, with zeros but for round(share * n) numbers, one at least, of the largest modulus."""
    count = max(1, round(share * weight.numel()))
    kept = weight.flatten().abs().topk(count).indices
    return torch.zeros_like(weight).flatten().scatter(0, kept, weight.flatten()[kept]).reshape(weight.shape)


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
