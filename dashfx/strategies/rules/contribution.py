"""The largest coefficient times the norm of its kernel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from dashfx.ops import AggConv
from dashfx.strategies.rules.base import ScoreRule


@dataclass(frozen=True)
class Contribution(ScoreRule):
    """The largest a_i * ||W_i||: what the candidate adds to the aggregated kernel, whatever the split of scale."""

    name: ClassVar[str] = "contribution"

    def scores(self, aggconv: AggConv) -> Tensor:
        norms = torch.stack([kernel.norm() for kernel in aggconv.own_kernels()])
        return aggconv.coefficients() * norms
