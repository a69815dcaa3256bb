"""Gates: each candidate has a sigmoid of its own, so that candidates do not compete for one sum.

Heuillet, Tabia, Arioui and Youcef-Toumi, "D-DARTS: Distributed Differentiable Architecture Search", 2021; the gates
after Chu et al., "Fair DARTS", ECCV 2020.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from dashfx.ops.relaxations.base import Relaxation
from dashfx.plugins import Positive


@dataclass
class Gates(Relaxation):
    """sigmoid(logits / tau), each for itself; with `search.terms=[separation]` they go to 0 or to 1."""

    tau: Positive = 1.0
    simplex: ClassVar[bool] = False
    paper: ClassVar[str] = "Heuillet et al., D-DARTS: Distributed Differentiable Architecture Search, 2021"
    row: ClassVar[str] = "1"

    def __call__(self, logits: Tensor, mask: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return (logits / self.tau).sigmoid() * mask
