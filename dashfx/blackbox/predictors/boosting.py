"""Gradient boosting of trees, with two quantiles beside the mean.

Luo, Tan, Wang, Qin, Chen and Liu, "Accuracy Prediction with Non-neural Model for Neural Architecture Search", 2020.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from dashfx.blackbox.predictors.base import Fitted, Predicted, Predictor, standardised
from dashfx.plugins import Count, Positive

if TYPE_CHECKING:
    from sklearn.ensemble import HistGradientBoostingRegressor

QUANTILES = (0.1587, 0.8413)  # a deviation to each side of a normal distribution's mean


@dataclass(frozen=True)
class Boosting(Predictor):
    """Boosted trees; the spread is half the distance of the quantiles a deviation to each side, by two fits more.

    Args:
        leaf: rows that a leaf holds at least.
    """

    trees: Count = 100
    rate: Positive = 0.1
    leaf: Count = 3
    has_spread: ClassVar[bool] = True
    paper: ClassVar[str] = "Luo et al., Accuracy Prediction with Non-neural Model for Neural Architecture Search, 2020"
    row: ClassVar[str] = "94"

    def fit(self, x: np.ndarray, y: np.ndarray, seed: int) -> Fitted:
        return Boosted(self, x, y, seed)

    def regressor(self, seed: int, **loss: Any) -> HistGradientBoostingRegressor:
        from sklearn.ensemble import HistGradientBoostingRegressor  # seconds, that a search without this need not wait

        return HistGradientBoostingRegressor(
            max_iter=self.trees,
            learning_rate=self.rate,
            min_samples_leaf=self.leaf,
            early_stopping=False,
            random_state=seed % 2**32,
            **loss,
        )


class Boosted(Fitted):
    """A fit of the mean, and one of a quantile to each side once a spread is asked for."""

    def __init__(self, settings: Boosting, x: np.ndarray, y: np.ndarray, seed: int) -> None:
        self._target, self._mean, self._deviation = standardised(y)
        self._settings, self._x, self._seed = settings, x, seed
        self._middle = settings.regressor(seed).fit(x, self._target)

    def mean(self, x: np.ndarray) -> np.ndarray:
        found: np.ndarray = self._middle.predict(x) * self._deviation + self._mean
        return found

    def predict(self, x: np.ndarray) -> Predicted:
        low, high = (side.predict(x) for side in self._sides)
        return Predicted(self.mean(x), np.maximum(high - low, 0) / 2 * self._deviation)

    @cached_property
    def _sides(self) -> list[HistGradientBoostingRegressor]:
        make = self._settings.regressor
        return [make(self._seed, loss="quantile", quantile=q).fit(self._x, self._target) for q in QUANTILES]
