"""The largest coefficient times the norm of its kernel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from dashfx.ops import AggConv
from dashfx.strategies.rules.base import ScoreRule


@dataclass(frozen=True)
class Contribution(ScoreRule):
    """The largest a_i * ||W_i||: what the candidate adds to the aggregated kernel, whatever the split of scale."""

    name: ClassVar[str] = "contribution"

    def scores(self, aggconv: AggConv) -> Tensor:
        return aggconv.coefficients() * aggconv.norms()
