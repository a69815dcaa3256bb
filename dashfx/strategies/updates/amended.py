"""Amended gradient: a term that keeps the mixtures' gradient right where the weights are at their best.

After Bi et al., "Stabilizing DARTS with Amended Gradient Estimation on Architectural Parameters", 2019.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from torch import Tensor

from dashfx.plugins import Positive
from dashfx.strategies.updates.base import SecondOrder

if TYPE_CHECKING:
    from dashfx.strategies.engine import Engine
    from dashfx.train.fit import Batch


@dataclass(frozen=True)
class Amended(SecondOrder):
    """Mixtures descend on dL_val/da - eta d/da <dL_train/dw, H dL_val/dw>, H the Hessian of L_train for the weights.

    Both products are exact. The true gradient has the inverse of H there, which nobody can afford; eta H is at an acute
    angle to it. Needs about five times the time of a first-order step.
    """

    eta: Positive = 0.1
    name: ClassVar[str] = "amended"
    paper: ClassVar[str] = "Bi et al., Stabilizing DARTS with Amended Gradient Estimation, 2019"
    row: ClassVar[str] = "19"

    def gradient(self, engine: Engine, train_batch: Batch, valid_batch: Batch) -> list[Tensor]:
        """For each of `engine.alphas`, by one draw of the mixtures for both looks at the training batch."""
        with engine.second_order(), engine.displaced():
            loss = engine.loss(valid_batch, part="alphas")
            found = engine.gradients(loss, [*engine.alphas, *engine.learning])
            direct, v = found[: len(engine.alphas)], found[len(engine.alphas) :]
            coef = engine.coefficients()
            curved = engine.mixed_product(train_batch, v, engine.learning, coef)
            back = engine.mixed_product(train_batch, curved, engine.alphas, coef)
        return [own - self.eta * through for own, through in zip(direct, back, strict=True)]
