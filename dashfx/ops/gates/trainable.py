"""Trainable gates: exactly on or off in value, with a slope of one's choice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from dashfx.ops.gates.base import Gate, Price
from dashfx.plugins import Positive


def trainable_gate(w: Tensor, slope: float, m: float) -> Tensor:
    """TG(w) = b(w) + s_M(w) g, with b the step at 0 and s_M(w) = (M w - floor(M w)) / M, for a constant slope g.

    The value is within g / M of 0 or 1, and the derivative is g wherever it exists.
    """
    saw = (m * w - (m * w).detach().floor()) / m
    return (w > 0).to(w.dtype) + saw * slope


@dataclass
class TrainableGate(Gate):
    """A step whose gradient passes straight through, held to the budget by rho (cost - target)^2 in the loss.

    Args:
        slope: the gradient g of the gate.
        m: how fine its saw is.
        rho: the weight of the penalty.
        first: what is learned begins with.
    """

    slope: Positive = 1.0
    m: Positive = 1e5
    rho: Positive = 10.0
    first: Positive = 0.5
    paper: ClassVar[str] = "Kim et al., Plug-in, Trainable Gate for Streamlining Arbitrary Neural Networks, AAAI 2020"
    row: ClassVar[str] = "61"

    def __call__(self, logits: Tensor, mask: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return trainable_gate(logits, self.slope, self.m) * mask

    def start(self, n: int) -> Tensor:
        return torch.full((n,), self.first)

    def worth(self, logits: Tensor) -> Tensor:
        return logits.detach()

    def penalty(self, values: Tensor, each: Tensor, price: Price, target: float) -> Tensor:
        return self.rho * (price - target).clamp_min(0) ** 2
