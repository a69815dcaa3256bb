"""Exponentiated gradient: architecture parameters are points of the simplex and move by factors.

Li, Khodak, Balcan and Talwalkar, "Geometry-Aware Gradient Algorithms for Neural Architecture Search", ICLR 2021.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from dashfx.config.search import SearchConfig
from dashfx.plugins import published

LEAST = 1e-5  # of a coefficient: what is 0 once would stay there


class ExpGrad(torch.optim.Optimizer):
    """theta <- theta exp(-lr g), at least `LEAST`, over their sum: mirror descent with the entropy as its potential."""

    def __init__(self, parameters: list[nn.Parameter], lr: float, scaled: bool = False) -> None:
        super().__init__(parameters, {"lr": lr, "scaled": scaled})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Any:
        loss = closure() if closure is not None else None
        for group in self.param_groups:
            for theta in group["params"]:
                if theta.grad is None:
                    continue
                gradient = theta.grad
                if group["scaled"]:
                    gradient = gradient / gradient.abs().max().clamp_min(torch.finfo(gradient.dtype).tiny)
                # A factor that all share cancels: without the smallest gradient none overflows.
                theta.mul_((-group["lr"] * (gradient - gradient.min())).exp()).clamp_(min=LEAST)
                theta.div_(theta.sum())
        return loss


@published("Li et al., Geometry-Aware Gradient Algorithms for Neural Architecture Search, ICLR 2021", "X1")
def expgrad(alphas: list[nn.Parameter], config: SearchConfig, *, scaled: bool = False) -> torch.optim.Optimizer:
    """GAEA: coefficients move by factors and need no softmax; with `search.relaxation=simplex`."""
    return ExpGrad(alphas, config.alpha_lr, scaled)
