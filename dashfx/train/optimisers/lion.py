"""Lion: weights move by the sign of a momentum, with the decay apart from the gradients.

Chen et al., "Symbolic Discovery of Optimization Algorithms", NeurIPS 2023, algorithm 2.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from dashfx.config.search import FitConfig
from dashfx.plugins import Share, published


class Lion(torch.optim.Optimizer):
    """p <- p (1 - lr decay) - lr sign(beta1 m + (1 - beta1) g), then m <- beta2 m + (1 - beta2) g."""

    def __init__(self, params: Any, lr: float, betas: tuple[float, float] = (0.9, 0.99), decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Any:
        loss = closure() if closure is not None else None
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for p in (p for p in group["params"] if p.grad is not None):
                m = self.state[p].setdefault("exp_avg", torch.zeros_like(p))
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.sub_(group["lr"] * m.lerp(p.grad, 1 - beta1).sgn())
                m.lerp_(p.grad, 1 - beta2)
        return loss


@published("Chen et al., Symbolic Discovery of Optimization Algorithms, NeurIPS 2023", "129")
def lion(groups: list[dict[str, Any]], config: FitConfig, *, beta2: Share = 0.99) -> torch.optim.Optimizer:
    """Every weight moves by the rate itself, so it wants a third to a tenth of adamw's rate, and as much more decay.

    `momentum` is beta1.
    """
    return Lion(groups, config.lr, (config.momentum, beta2))
