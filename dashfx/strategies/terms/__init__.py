"""Loss terms, one a file: what a search adds to the task's loss, each with its weight."""

from dashfx.strategies.terms.base import Moment, Part, Term
from dashfx.strategies.terms.expected_cost import ExpectedCost
from dashfx.strategies.terms.fbnet import CostLog, CostPower
from dashfx.strategies.terms.learned_cost import LearnedCost

TERMS: dict[str, type[Term]] = {
    "expected-cost": ExpectedCost,
    "cost-power": CostPower,
    "cost-log": CostLog,
    "learned-cost": LearnedCost,
}

__all__ = ["TERMS", "CostLog", "CostPower", "ExpectedCost", "LearnedCost", "Moment", "Part", "Term"]
