"""Scores and known results go in; rank correlations with bootstrap intervals come out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau, spearmanr

from dashfx.errors import ProxyError

Floats = NDArray[np.float64]
LEAST = 3


@dataclass(frozen=True)
class Correlation:
    """Spearman's rho and Kendall's tau-b of n pairs, with the 95 % intervals of a bootstrap over the pairs.

    Positive means that the better score goes with the better result. nan where all scores are the same.
    """

    rho: float
    tau: float
    rho_interval: tuple[float, float]
    tau_interval: tuple[float, float]
    n: int


def correlate(scores: Sequence[float], truth: Sequence[float], resamples: int = 1000, seed: int = 0) -> Correlation:
    """Both with larger as better; an infinite score is the worst or the best one.

    Raises:
        ProxyError: fewer than three pairs, results that are all the same or not finite, or a score that is nan.
    """
    x, y = np.asarray(scores, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    if len(x) != len(y) or len(y) < LEAST:
        raise ProxyError(f"{len(y)} known results for {len(x)} scores: a rank correlation needs {LEAST} pairs or more")
    if not np.isfinite(y).all() or np.isnan(x).any():
        raise ProxyError("a known result is not finite, or a score is nan: leave it out")
    if (y == y[0]).all():
        raise ProxyError(f"all {len(y)} known results are {y[0]:g}: nothing can be ranked against them")
    if (x == x[0]).all():
        nan = float("nan")
        return Correlation(nan, nan, (nan, nan), (nan, nan), len(y))
    weights = np.random.default_rng(seed).multinomial(len(y), np.full(len(y), 1 / len(y)), size=resamples)
    rho, tau = _resampled(_signs(x), _signs(y), weights.astype(np.float64))
    return Correlation(
        float(spearmanr(x, y).statistic), float(kendalltau(x, y).statistic), _interval(rho), _interval(tau), len(y)
    )


def _signs(values: Floats) -> Floats:
    """(n, n): 1, 0 or -1 where a value is above, equal to or below another; inf - inf would be no number."""
    return (values[:, None] > values).astype(np.float64) - (values[:, None] < values)


def _resampled(x: Floats, y: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """(resamples,) each of rho and tau-b, where `weights` (resamples, n) says how often a pair was drawn.

    A rank is half a point for each equal and one for each smaller value, so it is linear in the weights, and so are
    tau's sums over pairs: no resample has to be sorted.
    """

    def mean(values: Floats) -> Floats:
        return (weights * values).sum(1, keepdims=True) / weights.shape[1]

    a, b = (weights @ sign.T / 2 for sign in (x, y))  # ranks up to a constant
    a, b = a - mean(a), b - mean(b)
    with np.errstate(invalid="ignore", divide="ignore"):  # a resample may hold one value only
        rho = (mean(a * b) / np.sqrt(mean(a * a) * mean(b * b)))[:, 0]
        xy, xx, yy = (((weights @ m) * weights).sum(1) for m in (x * y, x * x, y * y))
        return rho, xy / np.sqrt(xx * yy)


def _interval(values: Floats) -> tuple[float, float]:
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return float(low), float(high)
