"""Tuning the options of retraining: the space, the study in the run's folder, and the trials."""

from dashfx.tune.space import check_choices, dimensions, is_plain, with_values
from dashfx.tune.study import Trial, Tuned

__all__ = [
    "Trial",
    "Tuned",
    "check_choices",
    "dimensions",
    "is_plain",
    "with_values",
]
