"""DARTS, second order: mixtures descend on the validation loss of weights that are a step ahead.

Liu, Simonyan and Yang, "DARTS: Differentiable Architecture Search", ICLR 2019.
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
class Unrolled(SecondOrder):
    """The gradient of L_val(w'(a), a) with w' = w - xi (m buf + dL_train/dw + decay w), then a step of the weights.

    d/da = dL_val/da - xi d/da <dL_train/dw, v> with v = dL_val/dw' (eqs. 6 and 7 of the paper). The product is exact;
    the paper's finite difference is wrong where a ReLU has its kink within the radius. Needs about four times the time
    of a first-order step.

    Args:
        xi: how far ahead; the weights' own learning rates, as in the paper, where it is not given.
    """

    xi: Positive | None = None
    name: ClassVar[str] = "unrolled"
    paper: ClassVar[str] = "Liu et al., DARTS: Differentiable Architecture Search, ICLR 2019"
    row: ClassVar[str] = "6"

    def gradient(self, engine: Engine, train_batch: Batch, valid_batch: Batch) -> list[Tensor]:
        """For each of `engine.alphas`, by one draw of the mixtures for both looks at the training batch."""
        with engine.second_order():
            coef = engine.coefficients()
            slopes = engine.gradients(engine.loss(train_batch, coef=coef, part="weights"), engine.learning)
            rates, values = self._ahead(engine, slopes)
            with engine.displaced(engine.learning, values):
                loss = engine.loss(valid_batch, part="alphas")
                found = engine.gradients(loss, [*engine.alphas, *engine.learning])
            direct, v = found[: len(engine.alphas)], found[len(engine.alphas) :]
            v = [rate * each for rate, each in zip(rates, v, strict=True)]
            with engine.displaced():
                back = engine.mixed_product(train_batch, v, engine.alphas, coef)
        return [own - through for own, through in zip(direct, back, strict=True)]

    def _ahead(self, engine: Engine, slopes: list[Tensor]) -> tuple[list[float], list[Tensor]]:
        """The rate of each of the weights, and where one step of SGD with momentum would bring them."""
        optimiser = engine.optimisers["weights"]
        groups = {id(p): group for group in optimiser.param_groups for p in group["params"]}
        rates, values = [], []
        for weight, slope in zip(engine.learning, slopes, strict=True):
            group, buffer = groups[id(weight)], optimiser.state.get(weight, {}).get("momentum_buffer")
            rates.append(group["lr"] if self.xi is None else self.xi)
            step = slope + group.get("weight_decay", 0.0) * weight.detach()
            if buffer is not None:
                step = step + group["momentum"] * buffer
            values.append(weight.detach() - rates[-1] * step)
        return rates, values
