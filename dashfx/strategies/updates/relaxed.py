"""RARTS: two sets of weights, one for each half of the data, that are drawn towards each other.

After Xue and Xin, "RARTS: An Efficient First-Order Relaxed Architecture Search Method", 2020.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from dashfx.plugins import Positive
from dashfx.strategies.updates.base import Update

if TYPE_CHECKING:
    from dashfx.strategies.engine import Engine
    from dashfx.train.fit import Batch

STATE = "relaxed"  # y of a weight, beside its momentum: it leaves, returns and is kept together with that


@dataclass(frozen=True)
class Relaxed(Update):
    """Descend on L_val(y, a) + lam L_train(w, a) + beta / 2 |y - w|^2, in turn on w, on y and on a.

    w, the weights that are kept, moves by their optimiser, y by plain descent at the same rate. The gradients of the
    mixtures come from the passes that moved w and y, so a step takes as many passes as one of first order. During the
    warm-up y is w. Batch-norm statistics belong to w.
    """

    lam: Positive = 1.0
    beta: Positive = 1.0
    uses_held_out: ClassVar[bool] = True
    paper: ClassVar[str] = "Xue and Xin, RARTS: An Efficient First-Order Relaxed Architecture Search Method, 2020"
    row: ClassVar[str] = "3"

    def begin(self, engine: Engine) -> None:
        engine.need_gradients("search.update=relaxed")

    def step(self, engine: Engine, train_batch: Batch, valid_batch: Batch | None) -> Tensor:
        assert valid_batch is not None
        state, learning = engine.optimisers["weights"].state, engine.learning
        y = [state.get(w, {}).get(STATE, w.detach().clone()) for w in learning]
        engine.zero_grad()
        loss = engine.loss(train_batch, part="weights")
        apart = torch.stack([(w - each).square().sum() for w, each in zip(learning, y, strict=True)]).sum()
        engine.step_weights(self.lam * loss + self.beta / 2 * apart)
        if engine.warm:
            with engine.alone(), engine.displaced(learning, y):
                found = engine.gradients(engine.loss(valid_batch, part="alphas"), [*engine.alphas, *learning])
            direct, slopes = found[: len(engine.alphas)], found[len(engine.alphas) :]
            self._move(engine, y, slopes)
            engine.give([g if a.grad is None else g + a.grad for a, g in zip(engine.alphas, direct, strict=True)])
            engine.step_alphas()
        return loss.detach()

    def _move(self, engine: Engine, y: list[Tensor], slopes: list[Tensor]) -> None:
        """One step of y; clipped as the weights' is."""
        state = engine.optimisers["weights"].state
        pairs = zip(slopes, y, engine.learning, strict=True)
        steps = [slope + self.beta * (each - w.detach()) for slope, each, w in pairs]
        if engine.config.clip:
            norm = torch.stack([step.norm() for step in steps]).norm()
            steps = [step * (engine.config.clip / (norm + 1e-6)).clamp(max=1.0) for step in steps]
        for w, each, step in zip(engine.learning, y, steps, strict=True):
            if w.grad is not None:  # else the optimiser has no state yet, and would take this for its own
                state[w][STATE] = each - engine.rate * step
