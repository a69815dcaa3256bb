"""Tuning the options of retraining: the space, the study in the run's folder, and the trials."""

from dashfx.stages.tune import check_space, trial_epochs, tune_run
from dashfx.tune.space import check_choices, dimensions, is_plain, with_values
from dashfx.tune.study import PLAIN_STAGE, Finals, Trial, Tuned

__all__ = [
    "PLAIN_STAGE",
    "Finals",
    "Trial",
    "Tuned",
    "check_choices",
    "check_space",
    "dimensions",
    "is_plain",
    "trial_epochs",
    "tune_run",
    "with_values",
]
