"""First-order DARTS: weights move on the training batch, mixtures on a batch of a held-out share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from dashfx.strategies.updates.base import Alternating

if TYPE_CHECKING:
    from dashfx.strategies.engine import Engine
    from dashfx.train.fit import Batch


@dataclass(frozen=True)
class FirstOrder(Alternating):
    """First-order DARTS: weights on the training batch, then the mixtures on a batch the weights never see."""

    paper: ClassVar[str] = "Liu et al., DARTS: Differentiable Architecture Search, ICLR 2019"

    def step_alphas(self, engine: Engine, batch: Batch) -> None:
        engine.zero_grad()
        engine.accelerator.backward(engine.loss(batch, part="alphas"))
        engine.step_alphas()
