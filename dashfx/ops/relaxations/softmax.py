"""Softmax, the relaxation of first-order DARTS, with a temperature that may fall."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from dashfx.ops.relaxations.base import Progress, Relaxation, geometric, masked_softmax
from dashfx.plugins import Positive


@dataclass
class Softmax(Relaxation):
    """softmax(logits / tau): first-order DARTS.

    Args:
        tau: the temperature, or with `end` the one that the search begins with.
        end: the temperature when the search is done; geometric in between.
    """

    tau: Positive = 1.0
    end: Positive | None = None
    now: float | None = field(default=None, init=False, repr=False, compare=False)
    paper: ClassVar[str] = "Liu et al., DARTS: Differentiable Architecture Search, ICLR 2019"

    def __call__(self, logits: Tensor, mask: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return masked_softmax(logits / self.temperature, mask)

    @property
    def temperature(self) -> float:
        return self.tau if self.now is None else self.now

    def begin(self, progress: Progress) -> None:
        self.now = geometric(self.tau, self.tau if self.end is None else self.end, progress.share)

    def state_dict(self) -> dict[str, Any]:
        return {"now": self.now}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.now = state["now"]
