"""Gaussian process with a linear kernel on centred counts, its noise by the likelihood of the rows."""

from __future__ import annotations

import numpy as np

from dashfx.blackbox.predictors.base import Fitted, Predicted, standardised

NOISES = np.logspace(-3, 1, 17)  # variances of the noise over the mean variance that the kernel gives


class LinearProcess(Fitted):
    """k(a, b) = s^2 (a - m) . (b - m) / v, v such that the rows' mean k is s^2, plus noise.

    s follows in closed form from each noise of a grid; the noise of the largest likelihood is taken.

    Attributes:
        evidence: the logarithm of that likelihood, of standardised values.
        slopes: (n_features,) gradient of the mean in the counts: what one more of each adds.
    """

    def __init__(self, x: np.ndarray, y: np.ndarray) -> None:
        target, self._mean, self._deviation = standardised(y)
        self._centre = x.mean(0)
        rest = x - self._centre
        self._scale = float((rest**2).sum(1).mean()) or 1.0
        values, vectors = np.linalg.eigh(rest @ rest.T / self._scale)
        spectrum, seen = np.maximum(values, 0), vectors.T @ target
        found = [self._likelihood(spectrum, seen, noise) for noise in NOISES]
        best = int(np.argmax([each[0] for each in found]))
        (self.evidence, self._size), noise = found[best], float(NOISES[best])
        self._inverse = (vectors / (spectrum + noise)) @ vectors.T
        self._rows, self._noise = rest, noise
        self._weights = rest.T @ (self._inverse @ target) / self._scale
        self.slopes = self._weights * self._deviation

    @staticmethod
    def _likelihood(spectrum: np.ndarray, seen: np.ndarray, noise: float) -> tuple[float, float]:
        """The log likelihood at the best s^2, and that s^2."""
        whole = spectrum + noise
        size = float((seen**2 / whole).mean()) or 1e-12
        return -0.5 * float(np.log(whole).sum() + len(seen) * np.log(size)), size

    def predict(self, x: np.ndarray) -> Predicted:
        rest = x - self._centre
        cross = rest @ self._rows.T / self._scale
        own = (rest**2).sum(1) / self._scale
        variance = np.maximum(own - ((cross @ self._inverse) * cross).sum(1), 0) + self._noise
        spread = np.sqrt(self._size * variance) * self._deviation
        return Predicted(rest @ self._weights * self._deviation + self._mean, spread)
