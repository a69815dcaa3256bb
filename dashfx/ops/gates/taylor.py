"""Gates that stay at one and only show, by the gradient that reaches them, what a channel is worth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from dashfx.ops.gates.base import Gate


@dataclass
class Taylor(Gate):
    """A channel is worth the square of what the loss would change by without it, to first order: (gate * dL/dgate)^2.

    Squares are averaged over the steps since the last pruning.
    """

    learns: ClassVar[bool] = False
    paper: ClassVar[str] = "Molchanov et al., Importance Estimation for Neural Network Pruning, CVPR 2019"

    def __call__(self, logits: Tensor, mask: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return (1 + logits - logits.detach()) * mask

    def worth(self, logits: Tensor) -> Tensor:
        raise NotImplementedError  # it is in the gradients
