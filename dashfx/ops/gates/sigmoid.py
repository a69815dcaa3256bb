"""Independent sigmoid gates with a price on resources that rises while too few leave, after GOLD-NAS."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from dashfx.ops.gates.base import Gate, Price
from dashfx.plugins import Positive


@dataclass
class SigmoidGates(Gate):
    """sigmoid(a) for each channel, with lam * sum cost * log(1 + s / mean s) in the loss, after GOLD-NAS.

    lam rises by `step` whenever fewer channels than the schedule wants have left by themselves, those below `below`;
    else it halves. The formula is ours after the paper's description.

    Args:
        step: what is added to lam, which begins at 0.
        below: the gate under which a channel leaves by itself.
        first: what is learned begins with.
    """

    step: Positive = 0.1
    below: Positive = 0.05
    first: Positive = 3.0
    lam: float = field(default=0.0, init=False)
    paper: ClassVar[str] = "Bi et al., GOLD-NAS: Gradual, One-Level, Differentiable, arXiv 2007.03331"
    row: ClassVar[str] = "13"

    def __call__(self, logits: Tensor, mask: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return logits.sigmoid() * mask

    def start(self, n: int) -> Tensor:
        return torch.full((n,), self.first)

    def worth(self, logits: Tensor) -> Tensor:
        return logits.detach().sigmoid()

    def penalty(self, values: Tensor, each: Tensor, price: Price, target: float) -> Tensor:
        alive = values > 0
        mean = values[alive].mean()
        return self.lam * (each[alive] * torch.log1p(values[alive] / mean)).sum()

    def after_pruning(self, left: int, wanted: int) -> None:
        self.lam = self.lam + self.step if left < wanted else self.lam / 2

    def state_dict(self) -> dict[str, Any]:
        return {"lam": self.lam}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.lam = float(state["lam"])
