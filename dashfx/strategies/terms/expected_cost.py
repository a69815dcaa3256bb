"""Penalty on the expected cost: a mean over the sites, the term behind `search.cost` and `search.cost_weight`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torch import Tensor

from dashfx.cost.counts import expected_cost
from dashfx.plugins import find
from dashfx.strategies.terms.base import Moment, Term

if TYPE_CHECKING:
    from dashfx.strategies.engine import Engine


@dataclass
class ExpectedCost(Term):
    """The mean over the sites of the cost that their mixtures can be expected to have.

    Args:
        cost: the name of a cost, or `file.py:Class`.
    """

    cost: str = "span"
    weight: float = 0.1
    table: dict[str, Tensor] = field(default_factory=dict, init=False, repr=False, compare=False)

    def begin(self, engine: Engine) -> None:
        self.table = find("cost", self.cost).in_loss(engine.sites)

    def __call__(self, now: Moment) -> Tensor:
        return expected_cost(self.table, now.coef)
