"""The largest coefficient, the rule of DASH."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from dashfx.ops import AggConv
from dashfx.strategies.rules.base import ScoreRule


@dataclass(frozen=True)
class Argmax(ScoreRule):
    """The largest coefficient, as in the paper. Scaling a weight down and its coefficient up can change the choice."""

    name: ClassVar[str] = "argmax"

    def scores(self, aggconv: AggConv) -> Tensor:
        return aggconv.coefficients()
