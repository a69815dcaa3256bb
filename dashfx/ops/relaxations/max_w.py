"""Max-W, of sharpDARTS: the strongest candidate counts in full, the others by how near they come to it.

Hundt, Jain and Hager, "sharpDARTS: Faster and More Accurate Differentiable Architecture Search", 2019.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import torch
from pydantic import BeforeValidator
from torch import Tensor

from dashfx.ops.relaxations.base import Progress, Relaxation
from dashfx.ops.relaxations.softmax import Softmax
from dashfx.plugins import find

Named = Annotated[Relaxation, BeforeValidator(lambda text: find("relaxation", text))]


@dataclass
class MaxW(Relaxation):
    """g_i = 1 - max_j p_j + p_i, p by another relaxation: the strongest has 1 and no gradient.

    Coefficients do not add up to 1: where all are equal the kernels are added up.
    """

    inner: Named = field(default_factory=Softmax)
    simplex: ClassVar[bool] = False
    paper: ClassVar[str] = "Hundt et al., sharpDARTS: Faster and More Accurate Differentiable Architecture Search, 2019"
    row: ClassVar[str] = "8"

    def __call__(self, logits: Tensor, mask: Tensor, generator: torch.Generator | None = None) -> Tensor:
        p = self.inner(logits, mask, generator)
        return (1 - p.amax(-1, keepdim=True) + p).masked_fill(~mask, 0.0)

    def attach(self, engine: Any) -> None:
        self.inner.attach(engine)

    def start(self, n: int) -> Tensor:
        return self.inner.start(n)

    def begin(self, progress: Progress) -> None:
        self.inner.begin(progress)

    def after_step(self, engine: Any) -> None:
        self.inner.after_step(engine)

    def state_dict(self) -> dict[str, Any]:
        return self.inner.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.inner.load_state_dict(state)
