"""A bilevel problem of two numbers, as an engine: what every update comes to is known in closed form.

L_val = a w - 2 a + 1 and L_train = (w - a)^2 (Liu et al., DARTS, ICLR 2019, Figure 2). The best weight for a is w = a,
so that the bilevel optimum is a = 1; first order comes to a = 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from dashfx.config.search import SearchConfig
from dashfx.strategies.engine import Derivatives
from dashfx.strategies.updates import Update

TRAIN, VALID = "train", "valid"


class Bilevel(Derivatives):
    """Starts at a = 2, w = -2; `fit` takes so many steps of an update."""

    def __init__(self, update: Update, rate: float = 0.3, alpha_rate: float = 0.3) -> None:
        self.update, self.warm = update, True
        self.config: Any = SearchConfig(clip=0)
        self.accelerator = Accelerator(cpu=True)
        self.w, self.a = (nn.Parameter(torch.tensor(value, dtype=torch.float64)) for value in (-2.0, 2.0))
        self.model = nn.Module()
        self.model.w = self.w
        self.sites, self.alphas, self.weights, self.rest = {}, [self.a], [self.w], []
        self._weights = torch.optim.SGD([{"params": [self.w], "share": 1.0}], rate)
        self._alphas = torch.optim.SGD([self.a], alpha_rate)

    @property
    def optimisers(self) -> Mapping[str, torch.optim.Optimizer]:
        return {"weights": self._weights, "alphas": self._alphas}

    def coefficients(self) -> dict[str, Tensor]:
        return {}

    def loss(self, batch: Any, params: Any = None, coef: Any = None, part: Any = "both") -> Tensor:
        w, a = self.w, self.a
        return (w - a).square() if batch == TRAIN else a * w - 2 * a + 1

    def zero_grad(self) -> None:
        for optimiser in self.optimisers.values():
            optimiser.zero_grad()

    def step_weights(self, loss: Tensor) -> None:
        self.descend(loss, self._weights, self.weights)

    def step_alphas(self) -> None:
        self._alphas.step()

    def step(self, batch: Any) -> Tensor:
        return self.update.step(self, TRAIN, VALID)

    def fit(self, steps: int = 150) -> tuple[float, float]:
        """a and w in the end."""
        for _ in range(steps):
            self.step(TRAIN)
        return self.a.item(), self.w.item()
