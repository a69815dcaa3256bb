"""Softmax, the relaxation of first-order DARTS."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dashfx.ops.relaxations.base import masked_softmax


class Softmax:
    """softmax(logits / tau): first-order DARTS."""

    def __init__(self, tau: float = 1.0) -> None:
        self.tau = tau

    def __call__(self, logits: Tensor, mask: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return masked_softmax(logits / self.tau, mask)

    def after_step(self, arch: Any) -> None:
        """Nothing to project."""
