"""Loss terms, one a file: what a search adds to the task's loss, each with its weight."""

from dashfx.strategies.terms.adversarial import Adversarial
from dashfx.strategies.terms.base import Moment, Part, Term
from dashfx.strategies.terms.expected_cost import ExpectedCost
from dashfx.strategies.terms.fbnet import CostLog, CostPower
from dashfx.strategies.terms.learned_cost import LearnedCost
from dashfx.strategies.terms.self_distillation import SelfDistillation
from dashfx.strategies.terms.separation import Separation

TERMS: dict[str, type[Term]] = {
    "expected-cost": ExpectedCost,
    "cost-power": CostPower,
    "cost-log": CostLog,
    "learned-cost": LearnedCost,
    "separation": Separation,
    "self-distillation": SelfDistillation,
    "adversarial": Adversarial,
}

__all__ = [
    "TERMS",
    "Adversarial",
    "CostLog",
    "CostPower",
    "ExpectedCost",
    "LearnedCost",
    "Moment",
    "Part",
    "SelfDistillation",
    "Separation",
    "Term",
]
