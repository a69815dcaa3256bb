"""Selection rules, one a file: trained mixtures go in, a Genotype of one candidate per site comes out."""

from dashfx.strategies.rules.argmax import Argmax
from dashfx.strategies.rules.base import ScoreRule, SelectionRule
from dashfx.strategies.rules.contribution import Contribution
from dashfx.strategies.rules.controls import RandomChoice, Untouched
from dashfx.strategies.rules.energy import Energy

RULES: dict[str, type[SelectionRule]] = {
    "argmax": Argmax,
    "contribution": Contribution,
    "energy": Energy,
    "random": RandomChoice,
}

__all__ = [
    "RULES",
    "Argmax",
    "Contribution",
    "Energy",
    "RandomChoice",
    "ScoreRule",
    "SelectionRule",
    "Untouched",
]
