"""The simplex itself, the relaxation of GAEA: architecture parameters are the coefficients.

Li, Khodak, Balcan and Talwalkar, "Geometry-Aware Gradient Algorithms for Neural Architecture Search", ICLR 2021.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from dashfx.ops.relaxations.base import Relaxation


@dataclass
class Simplex(Relaxation):
    """Each site's parameters over their sum, without noise; with `search.alpha_optimizer=expgrad`."""

    logits: ClassVar[bool] = False
    paper: ClassVar[str] = "Li et al., Geometry-Aware Gradient Algorithms for Neural Architecture Search, ICLR 2021"
    row: ClassVar[str] = "X1"

    def __call__(self, logits: Tensor, mask: Tensor, generator: torch.Generator | None = None) -> Tensor:
        alive = logits.masked_fill(~mask, 0.0)
        return alive / alive.sum(-1, keepdim=True)

    def start(self, n: int) -> Tensor:
        return torch.full((n,), 1 / n)
