"""Ridge regression, whose penalty is the one that makes the values most likely."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dashfx.blackbox.predictors.base import Fitted, Predictor
from dashfx.blackbox.predictors.wrapped import Regressed


@dataclass(frozen=True)
class Ridge(Predictor):
    """A linear function of the features, its penalty and noise by the evidence of the rows; exact spreads."""

    has_spread: ClassVar[bool] = True
    paper: ClassVar[str] = "MacKay, Bayesian Interpolation, Neural Computation 1992"

    def fit(self, x: np.ndarray, y: np.ndarray, seed: int) -> Fitted:
        from sklearn.linear_model import BayesianRidge  # seconds, that a search without this need not wait

        return Regressed(BayesianRidge(), x, y, tells_spread=True)
