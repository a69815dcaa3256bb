"""Projection onto budgets: after each step, mixtures go back to where the expected cost is allowed.

After Jin et al., "RC-DARTS: Resource Constrained Differentiable Architecture Search", 2019.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import torch
from pydantic import BeforeValidator
from torch import Tensor

from dashfx.plugins import Count, Share, find
from dashfx.strategies.expected import Expected, limited_costs, noise_free
from dashfx.strategies.updates.base import Update
from dashfx.strategies.updates.one_level import OneLevel

if TYPE_CHECKING:
    from dashfx.strategies.engine import Engine
    from dashfx.train.fit import Batch

Named = Annotated[Update, BeforeValidator(lambda given: find("update", given))]
WITHIN = 1e-3  # of a limit: nearer than this is there
LONGEST = 2.0  # of a step, in logits: where the cost hardly changes, its slope says little of what is far away


@dataclass(frozen=True)
class Projected(Update):
    """Another update's step; then, while a budget's expected cost is outside, steps on the violation alone.

    a <- a - v dE/da / |dE/da|^2 with v = E - limit: the shortest step that would end on the limit, were E linear. The
    paper's inner objective holds the distance to the start and gives its rate by hand; this has neither. Inside the
    limits nothing changes.

    Args:
        inner: what makes the step.
        least: the smallest expected cost, as a share of what a budget allows, below which mixtures are pushed up.
        steps: on the violation, at most, for each step of the search.
    """

    inner: Named = field(default_factory=OneLevel)
    least: Share = 0.0
    steps: Count = 20
    paper: ClassVar[str] = "after Jin et al., RC-DARTS, 2019"
    row: ClassVar[str] = "17"
    needs_budgets: ClassVar[bool] = True

    @property
    def uses_held_out(self) -> bool:  # type: ignore[override]
        return self.inner.uses_held_out

    def begin(self, engine: Engine) -> None:
        self.inner.begin(engine)

    def step(self, engine: Engine, train_batch: Batch, valid_batch: Batch | None) -> Tensor:
        loss = self.inner.step(engine, train_batch, valid_batch)
        if engine.warm:
            self.project(engine)
        return loss

    def before_alphas(self, engine: Engine) -> None:
        self.inner.before_alphas(engine)

    def project(self, engine: Engine) -> None:
        """Move architecture parameters until all expected costs are allowed, or `steps` are over."""
        costs = limited_costs(engine)
        for _ in range(self.steps):
            if not [each for each in costs if self._moved(engine, each)]:
                return

    def _moved(self, engine: Engine, cost: Expected) -> bool:
        """Whether a cost was outside of its limits; a step towards them."""
        with torch.enable_grad():
            value = cost(noise_free(engine))
            aim = min(max(float(value), self.least * cost.most), cost.most)
            over = float(value) - aim
            if abs(over) <= WITHIN * cost.most:
                return False
            slopes = torch.autograd.grad(value, engine.alphas, allow_unused=True)
        found = [torch.zeros_like(a) if g is None else g for g, a in zip(slopes, engine.alphas, strict=True)]
        norm = max(float(torch.stack([g.norm() for g in found]).norm()), torch.finfo(found[0].dtype).tiny)
        length = math.copysign(min(abs(over) / norm, LONGEST), over)
        with torch.no_grad():
            for alpha, slope in zip(engine.alphas, found, strict=True):
                alpha.sub_(slope, alpha=length / norm)
        return True

    def state_dict(self) -> dict[str, Any]:
        return self.inner.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.inner.load_state_dict(state)
