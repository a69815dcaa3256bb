"""Regressors of scikit-learn behind the predictors: standardised features and values, spreads where they have some."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from dashfx.blackbox.predictors.base import Fitted, Predicted, standardised


class Regressed(Fitted):
    """A regressor on standardised features and values.

    Args:
        tells_spread: its `predict` takes `return_std`.
    """

    def __init__(self, regressor: Any, x: np.ndarray, y: np.ndarray, tells_spread: bool = False) -> None:
        from sklearn.preprocessing import StandardScaler  # seconds, that a search without this need not wait

        self._scaler, self._tells_spread = StandardScaler().fit(x), tells_spread
        target, self._mean, self._deviation = standardised(y)
        self.regressor = quietly(lambda: regressor.fit(self._scaler.transform(x), target))

    def predict(self, x: np.ndarray) -> Predicted:
        rows = self._scaler.transform(x)
        if self._tells_spread:
            mean, spread = self.regressor.predict(rows, return_std=True)
        else:
            mean, spread = self.regressor.predict(rows), np.zeros(len(rows))
        return Predicted(mean * self._deviation + self._mean, spread * self._deviation)


def quietly(fit: Callable[[], Any]) -> Any:
    """A fit whose iterations ended at a bound is as good as it got; few rows often end there."""
    from sklearn.exceptions import ConvergenceWarning  # seconds, that a search without this need not wait

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return fit()
