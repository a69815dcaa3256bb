"""Updates of weights and architecture parameters, a training step each, and the optimisers of the latter.

Shen, Khodak and Talwalkar, "Efficient Architecture Search for Diverse Tasks", NeurIPS 2022.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from dashfx.config.search import SearchConfig
from dashfx.plugins import Share
from dashfx.strategies.engine import Engine, Update
from dashfx.train.fit import Batch


@dataclass(frozen=True)
class OneLevel(Update):
    """The paper: one backward pass on the training loss moves both."""

    def step(self, engine: Engine, train_batch: Batch, valid_batch: Batch | None) -> Tensor:
        engine.zero_grad()
        loss = engine.loss(train_batch)
        engine.step_weights(loss)
        engine.step_alphas()
        return loss.detach()


@dataclass(frozen=True)
class FirstOrder(Update):
    """First-order DARTS: weights on the training batch, then the mixtures on a batch the weights never see."""

    uses_held_out: ClassVar[bool] = True

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


def sgd(alphas: list[nn.Parameter], config: SearchConfig, *, momentum: Share = 0.9) -> torch.optim.Optimizer:
    """With Nesterov momentum, and the decay of the weights."""
    return torch.optim.SGD(
        alphas, config.alpha_lr, momentum=momentum, nesterov=momentum > 0, weight_decay=config.weight_decay
    )


def adam(alphas: list[nn.Parameter], config: SearchConfig, *, beta1: Share = 0.9) -> torch.optim.Optimizer:
    """Without decay."""
    return torch.optim.Adam(alphas, config.alpha_lr, betas=(beta1, 0.999))


UPDATES: dict[str, type[Update]] = {"one-level": OneLevel, "first-order": FirstOrder}
ALPHA_OPTIMISERS: dict[str, Callable[..., torch.optim.Optimizer]] = {"sgd": sgd, "adam": adam}
