"""One level, the update of DASH: one backward pass on the training loss moves weights and mixtures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from torch import Tensor

from dashfx.strategies.updates.base import Update

if TYPE_CHECKING:
    from dashfx.strategies.engine import Engine
    from dashfx.train.fit import Batch


@dataclass(frozen=True)
class OneLevel(Update):
    """The paper: one backward pass on the training loss moves both."""

    paper: ClassVar[str] = "Shen et al., Efficient Architecture Search for Diverse Tasks, NeurIPS 2022"

    def step(self, engine: Engine, train_batch: Batch, valid_batch: Batch | None) -> Tensor:
        engine.zero_grad()
        loss = engine.loss(train_batch)
        engine.step_weights(loss)
        engine.step_alphas()
        return loss.detach()
