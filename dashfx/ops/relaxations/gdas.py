"""GDAS: one candidate a step by Gumbel-max, with the gradient of the softmax.

Dong and Yang, "Searching for a Robust Neural Architecture in Four GPU Hours", CVPR 2019.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from dashfx.ops.relaxations.base import Progress, Relaxation
from dashfx.ops.relaxations.soft_gumbel import SoftGumbel
from dashfx.plugins import Positive


@dataclass
class GDAS(Relaxation):
    """g = onehot(argmax s) - stop(s) + s, s = softmax((logits + G) / tau), tau from `hot` to `cold` in equal steps.

    The candidate that is drawn is computed alone, times g_i / stop(g_i): what one hot coefficient among others gives,
    but for the logits' gradient, which comes by that candidate's own coefficient. So a step costs what plain convs do.
    Without noise it is the likeliest candidate.

    Args:
        sampled: if not, all candidates are computed as one mixed kernel, and each coefficient has its gradient.
    """

    hot: Positive = 10.0
    cold: Positive = 0.1
    sampled: bool = True
    now: float | None = field(default=None, init=False, repr=False, compare=False)
    paper: ClassVar[str] = "Dong and Yang, Searching for a Robust Neural Architecture in Four GPU Hours, CVPR 2019"
    row: ClassVar[str] = "X3"

    def __call__(self, logits: Tensor, mask: Tensor, generator: torch.Generator | None = None) -> Tensor:
        soft = SoftGumbel(self.hot if self.now is None else self.now)(logits, mask, generator)
        one = torch.zeros_like(soft).scatter(-1, soft.argmax(-1, keepdim=True), 1.0)
        return one + (soft - soft.detach())

    def begin(self, progress: Progress) -> None:
        self.now = self.hot + (self.cold - self.hot) * progress.share

    def state_dict(self) -> dict[str, Any]:
        return {"now": self.now}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.now = state["now"]
