"""Predictors, the base: features and values go in; means and spreads of other genomes come out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

import numpy as np


class Predicted(NamedTuple):
    """What a fit says of n genomes.

    Attributes:
        mean: (n,).
        spread: (n,), a standard deviation of what the value may be; 0 from a predictor that tells none.
    """

    mean: np.ndarray
    spread: np.ndarray


class Fitted(ABC):
    """A predictor that has seen values."""

    @abstractmethod
    def predict(self, x: np.ndarray) -> Predicted:
        """Means and spreads of genomes with features `x`, (n, n_features)."""

    def mean(self, x: np.ndarray) -> np.ndarray:
        """(n,): the means alone, where spreads would cost more."""
        return self.predict(x).mean


class Predictor(ABC):
    """The settings of a predictor, as a frozen dataclass.

    Attributes:
        has_spread: whether its spread says anything, as expected improvement and its like need it.
    """

    has_spread: ClassVar[bool] = False

    @abstractmethod
    def fit(self, x: np.ndarray, y: np.ndarray, seed: int) -> Fitted:
        """The fit to these rows, a function of its arguments alone: a killed search fits again what it had.

        Args:
            x: (n, n_features).
            y: (n,), finite.
        """


def standardised(y: np.ndarray) -> tuple[np.ndarray, float, float]:
    """(n,) of mean 0 and deviation 1, with what the mean and the deviation were; 1 in place of a deviation of 0."""
    mean, deviation = float(y.mean()), float(y.std()) or 1.0
    return (y - mean) / deviation, mean, deviation
