"""A small temperature with noise: mixtures that are nearly decided, and are softened at random less and less often.

After Zhang et al., "Small Temperature is All You Need for Differentiable Architecture Search", PAKDD 2023.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from dashfx.ops.relaxations.base import Progress, Relaxation, masked_softmax
from dashfx.plugins import Positive

SHARE, LEAST = 0.05, 0.01  # of the logits' spread, where no temperature is given; and no less


@dataclass
class SparseNoisy(Relaxation):
    """softmax(logits / T): T is small with probability C, else ratio * small; C rises from 0 to 1 after the warm-up.

    In the warm-up T is 1; evaluation is always sharp, so that the gap between mixture and choice is small all along.

    Args:
        small: 0.05 of the standard deviation of all logits, and 0.01 at least, where it is not given: what is small
            depends on how far logits have moved.
    """

    small: Positive | None = None
    ratio: Annotated[float, Field(ge=1)] = 10.0
    warm: bool = field(default=False, init=False, repr=False, compare=False)
    began: float | None = field(default=None, init=False, repr=False, compare=False)
    sharp: float = field(default=0.0, init=False, repr=False, compare=False)
    spread: Tensor | None = field(default=None, init=False, repr=False, compare=False)
    paper: ClassVar[str] = (
        "Zhang et al., Small Temperature is All You Need for Differentiable Architecture Search, 2023"
    )
    row: ClassVar[str] = "4"

    def __call__(self, logits: Tensor, mask: Tensor, generator: torch.Generator | None = None) -> Tensor:
        if generator is None:
            return masked_softmax(logits / self._tau(logits), mask)
        if not self.warm:
            return masked_softmax(logits, mask)
        draw = torch.rand((), generator=generator, device=logits.device)
        softer = torch.where(draw < self.sharp, 1.0, self.ratio).to(logits)
        return masked_softmax(logits / (softer * self._tau(logits)), mask)

    def _tau(self, logits: Tensor) -> Tensor | float:
        if self.small is not None:
            return self.small
        return LEAST if self.spread is None else (SHARE * self.spread.to(logits)).clamp_min(LEAST)

    def begin(self, progress: Progress) -> None:
        self.warm = progress.warm
        if not self.warm:
            return
        if self.began is None:
            self.began = progress.share
        left = 1 - self.began
        self.sharp = min(1.0, (progress.share - self.began) / left) if left > 0 else 1.0

    def after_step(self, engine: Any) -> None:
        self.spread = torch.cat([alpha.detach() for alpha in engine.alphas]).std()

    def state_dict(self) -> dict[str, Any]:
        return {"warm": self.warm, "began": self.began, "sharp": self.sharp, "spread": self.spread}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.warm, self.began = state["warm"], state["began"]
        self.sharp, self.spread = state["sharp"], state["spread"]
