"""Tuning the options of retraining: the space, the study in the run's folder, and the trials."""

from dashfx.tune.space import dimensions, with_values
from dashfx.tune.study import Trial, Tuned
from dashfx.tune.trials import check_space, trial_epochs, tune_run

__all__ = ["Trial", "Tuned", "check_space", "dimensions", "trial_epochs", "tune_run", "with_values"]
