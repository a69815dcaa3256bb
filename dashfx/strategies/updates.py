"""DASH: weights and architecture parameters are trained together by gradient descent on soft-Gumbel mixtures.

Shen, Khodak and Talwalkar, "Efficient Architecture Search for Diverse Tasks", NeurIPS 2022.
"""

from __future__ import annotations

from torch import Tensor

from dashfx.strategies.engine import Engine, Strategy
from dashfx.train.fit import Batch


class OneLevel(Strategy):
    """The paper: one backward pass on the training loss moves both."""

    def step(self, engine: Engine, train_batch: Batch, valid_batch: Batch | None) -> Tensor:
        engine.zero_grad()
        loss = engine.loss(train_batch)
        engine.step_weights(loss)
        engine.step_alphas()
        return loss.detach()


class FirstOrder(Strategy):
    """First-order DARTS: weights on the training batch, then the mixtures on a batch the weights never see."""

    uses_held_out = True

    def step(self, engine: Engine, train_batch: Batch, valid_batch: Batch | None) -> Tensor:
        assert valid_batch is not None
        engine.zero_grad()
        loss = engine.loss(train_batch)
        engine.step_weights(loss)
        if engine.warm:
            engine.zero_grad()
            engine.accelerator.backward(engine.loss(valid_batch))
            engine.step_alphas()
        return loss.detach()


STRATEGIES: dict[str, Strategy] = {"train": OneLevel(), "held-out": FirstOrder()}
