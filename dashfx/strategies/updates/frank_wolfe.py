"""Frank-Wolfe under budgets: mixtures are points of the simplices at which the expected cost is always allowed.

Nayman et al., "HardCoRe-NAS: Hard Constrained diffeRentiable Neural Architecture Search", ICML 2021.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.optimize import linprog
from scipy.sparse import block_diag, csr_array, vstack
from torch import nn

from dashfx.config.search import SearchConfig
from dashfx.plugins import Positive, Share, published
from dashfx.strategies.expected import Expected, limited_costs

if TYPE_CHECKING:
    from dashfx.strategies.engine import Engine

ROUNDING = 1e-6  # of a limit, within which a point is allowed
Rows = list[np.ndarray]  # a number an option, site by site


class FrankWolfe(torch.optim.Optimizer):
    """a <- a + gamma (d - a) with d = argmin <g, d> over the simplices and budgets, gamma = rate * 2 / (k + 2).

    The paper has n blocks that move in turn and 2n / (k + 2n); here is one. Every point is a mean of allowed ones, so
    all are allowed. It starts from the even mixture where that is allowed, else from the allowed point nearest to it on
    the line to the cheapest one.
    """

    def __init__(self, parameters: list[nn.Parameter], rate: float = 1.0, averaged: float = 0.0) -> None:
        super().__init__(parameters, {"rate": rate, "averaged": averaged})
        self._costs: list[Expected] = []
        self._masks: list[np.ndarray] = [np.ones(len(each), dtype=bool) for each in parameters]

    def attach(self, engine: Engine) -> None:
        """The sites' budgets and candidates as they are now; points that are not allowed move to allowed ones."""
        self._costs = limited_costs(engine)
        self._masks = [site.mask.cpu().numpy() for site in engine.sites.values()]
        alphas = self._alphas()
        points = [_on_simplex(each, mask) for each, mask in zip(_rows(alphas), self._masks, strict=True)]
        over = [value - cost.most for value, cost in zip(self._values(points), self._costs, strict=True)]
        if not any(each > ROUNDING for each in over):
            return
        cheap = self.cheapest()
        shares = [
            (value - cost.most) / max(value - low, 1e-12)
            for value, low, cost in zip(self._values(points), self._values(cheap), self._costs, strict=True)
        ]
        share = min(1.0, max(0.0, *shares) + ROUNDING)
        for alpha, a, b in zip(alphas, points, cheap, strict=True):
            alpha.data.copy_(torch.from_numpy(a + share * (b - a)))

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Any:
        loss = closure() if closure is not None else None
        (group,) = self.param_groups
        alphas, slopes = self._alphas(), []
        for alpha in alphas:
            state = self.state[alpha]
            before = state.get("slope")
            slope = torch.zeros_like(alpha) if alpha.grad is None else alpha.grad
            state["slope"] = slope.clone() if before is None else torch.lerp(slope, before, group["averaged"])
            state["step"] = state.get("step", -1) + 1
            slopes.append(state["slope"])
        gamma = group["rate"] * 2 / (self.state[alphas[0]]["step"] + 2)
        for alpha, corner in zip(alphas, self.vertex(_rows(slopes)), strict=True):
            alpha.lerp_(torch.from_numpy(corner).to(alpha), gamma)
        return loss

    def vertex(self, slopes: Rows) -> Rows:
        """The allowed point of the least <slopes, d>: all but as many sites as there are budgets have one option."""
        unit = max((float(np.abs(each).max()) for each in slopes), default=0.0) or 1.0
        found = linprog(np.concatenate(slopes) / unit, **self._polytope())
        return self._split(found.x) if found.x is not None else self.cheapest()

    def cheapest(self) -> Rows:
        """The point whose largest violation is the smallest."""
        polytope = self._polytope()
        bounds = [*polytope["bounds"], (None, None)]
        equal = vstack([polytope["A_eq"].T, csr_array((1, len(self._masks)))]).T
        costs = None if polytope["A_ub"] is None else np.hstack([polytope["A_ub"], -np.ones((len(self._costs), 1))])
        goal = np.append(np.zeros(equal.shape[1] - 1), 1.0)
        found = linprog(goal, costs, polytope["b_ub"], equal, polytope["b_eq"], bounds)
        return self._split(found.x[:-1])

    def _polytope(self) -> dict[str, Any]:
        """Coefficients of a site add up to 1, those of candidates that have left are 0, expected costs are allowed."""
        costs = [np.concatenate(_rows(list(each.table.values()))) for each in self._costs]
        return {
            "A_ub": np.stack(costs) if costs else None,
            "b_ub": np.array([each.most - each.constant for each in self._costs]) if costs else None,
            "A_eq": csr_array(block_diag([np.ones((1, len(mask))) for mask in self._masks])),
            "b_eq": np.ones(len(self._masks)),
            "bounds": [(0.0, float(alive)) for mask in self._masks for alive in mask],
        }

    def _split(self, x: np.ndarray) -> Rows:
        return np.split(x, np.cumsum([len(mask) for mask in self._masks])[:-1])

    def _values(self, points: Rows) -> list[float]:
        """The expected costs at a point."""
        tables = [_rows(list(each.table.values())) for each in self._costs]
        return [
            cost.constant + sum(float(row @ point) for row, point in zip(table, points, strict=True))
            for cost, table in zip(self._costs, tables, strict=True)
        ]

    def _alphas(self) -> list[nn.Parameter]:
        return [each for group in self.param_groups for each in group["params"]]


def _on_simplex(point: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """What is left of a point when candidates have gone; the even mixture where that is nothing."""
    alive = np.where(mask, point, 0.0)
    return alive / alive.sum() if alive.sum() > 0 else mask / mask.sum()


def _rows(tensors: Sequence[torch.Tensor]) -> Rows:
    return [each.detach().cpu().double().numpy() for each in tensors]


@published("Nayman et al., HardCoRe-NAS: Hard Constrained diffeRentiable Neural Architecture Search, ICML 2021", "51")
def frank_wolfe(
    alphas: list[nn.Parameter], config: SearchConfig, *, rate: Positive = 0.2, averaged: Share = 0.9
) -> torch.optim.Optimizer:
    """HardCoRe-NAS: every step stays within the budgets; with `search.relaxation=simplex`.

    A rate of 1 begins with a step to a vertex, by the gradient of one batch; the defaults here are ours.
    """
    return FrankWolfe(alphas, rate, averaged)
