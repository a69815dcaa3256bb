"""Selection rules, one a file: trained mixtures go in, a Genotype of one candidate per site comes out."""

from dashfx.strategies.rules.argmax import Argmax
from dashfx.strategies.rules.base import ScoreRule, SelectionRule
from dashfx.strategies.rules.best_of import BestOf
from dashfx.strategies.rules.contribution import Contribution
from dashfx.strategies.rules.controls import RandomChoice, Untouched
from dashfx.strategies.rules.energy import Energy
from dashfx.strategies.rules.perturbation import Perturbation

RULES: dict[str, type[SelectionRule]] = {
    "argmax": Argmax,
    "contribution": Contribution,
    "energy": Energy,
    "random": RandomChoice,
    "perturbation": Perturbation,
    "best-of": BestOf,
}

__all__ = [
    "RULES",
    "Argmax",
    "BestOf",
    "Contribution",
    "Energy",
    "Perturbation",
    "RandomChoice",
    "ScoreRule",
    "SelectionRule",
    "Untouched",
]
