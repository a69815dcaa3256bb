"""First-order DARTS: weights move on the training batch, mixtures on a batch of a held-out share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from torch import Tensor

from dashfx.strategies.updates.base import Update

if TYPE_CHECKING:
    from dashfx.strategies.engine import Engine
    from dashfx.train.fit import Batch


@dataclass(frozen=True)
class FirstOrder(Update):
    """First-order DARTS: weights on the training batch, then the mixtures on a batch the weights never see."""

    uses_held_out: ClassVar[bool] = True
    paper: ClassVar[str] = "Liu et al., DARTS: Differentiable Architecture Search, ICLR 2019"

    def step(self, engine: Engine, train_batch: Batch, valid_batch: Batch | None) -> Tensor:
        assert valid_batch is not None
        engine.zero_grad()
        loss = engine.loss(train_batch, part="weights")
        engine.step_weights(loss)
        if engine.warm:
            engine.zero_grad()
            engine.accelerator.backward(engine.loss(valid_batch, part="alphas"))
            engine.step_alphas()
        return loss.detach()
