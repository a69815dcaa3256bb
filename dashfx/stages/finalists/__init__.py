"""Finalists: models that may be handed back race by short trainings, the last are trained in full, the best is kept.

Successive halving (Jamieson and Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter Optimization",
AISTATS 2016) with two changes: every rung is a training of its own with a complete schedule, as a training that is cut
short says little about one that ends; and the untouched model always reaches the last rung, where ties are its.
"""

from dashfx.stages.finalists.base import CONTROL, DISTIL, PLAIN, RETRAIN, Decision, Finalist, Start, Trained
from dashfx.stages.finalists.decision import best_of, decided
from dashfx.stages.finalists.lengths import longer_share, planned_epochs, trainings, untouched_trainings
from dashfx.stages.finalists.lineup import Lineup, by_rule_of, chance_of, lined_up, start_from
from dashfx.stages.finalists.race import Race, raced
from dashfx.stages.finalists.work import choice_ratio, epoch_ratio, search_work, step_work

__all__ = [
    "CONTROL",
    "DISTIL",
    "PLAIN",
    "RETRAIN",
    "Decision",
    "Finalist",
    "Lineup",
    "Race",
    "Start",
    "Trained",
    "best_of",
    "by_rule_of",
    "chance_of",
    "choice_ratio",
    "decided",
    "epoch_ratio",
    "lined_up",
    "longer_share",
    "planned_epochs",
    "raced",
    "search_work",
    "start_from",
    "step_work",
    "trainings",
    "untouched_trainings",
]
