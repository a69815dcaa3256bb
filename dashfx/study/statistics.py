"""Statistics of two groups of results: relative improvement with its interval, permutation test, Holm's correction.

A method's results and those of random choices, each from a search and a training of its own, go in.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, combinations, islice

import numpy as np
from scipy.stats import ttest_ind

from dashfx.plugins import published

LEAST_RANDOM = 5  # random choices, below which nothing is said against them
EXACT = 20_000  # assignments, up to which all are counted
DRAWS = 19_999  # of a test by Monte Carlo
CHUNK = 4096
LEVEL = 0.95

Values = Sequence[float] | np.ndarray


@dataclass(frozen=True)
class Improvement:
    """A method's results against those of random choices.

    Attributes:
        ri: the relative improvement in percent, positive where the method is better; NaN where random choices have 0.
        low, high: its interval of 95 %; NaN of a single result.
        p: of the one-sided permutation test; small where random choices hardly do as well.
        exact: whether all assignments were counted.
        better: the probability that a result of the method is better than a random one's, ties counting half.
    """

    ri: float
    low: float
    high: float
    p: float
    exact: bool
    better: float


@published("Yang et al., NAS Evaluation is Frustratingly Hard, ICLR 2020", "44")
def improvement(values: Sequence[float], random: Sequence[float], maximise: bool = True, seed: int = 0) -> Improvement:
    """RI = 100 (mean of the method - mean random) / mean random (Yang et al., "NAS evaluation is frustratingly hard").

    The interval is Welch's of the difference of means, over the same mean of random choices. For metrics of which less
    is better the sign turns round.

    Args:
        values: (n,), one a seed, n >= 1.
        random: (m,), m >= 2.
    """
    sign = 1.0 if maximise else -1.0
    own, chance = sign * np.asarray(values, dtype=np.float64), sign * np.asarray(random, dtype=np.float64)
    base, difference = abs(float(chance.mean())), float(own.mean() - chance.mean())
    scale = 100 / base if base else math.nan
    low, high = welch(own, chance)
    p, exact = permutation_p(own, chance, seed)
    above = (own[:, None] > chance).mean() + 0.5 * (own[:, None] == chance).mean()
    return Improvement(scale * difference, scale * low, scale * high, p, exact, float(above))


def welch(own: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """The interval of the difference of two means whose groups may vary differently; NaN of a single value."""
    if len(own) < 2 or len(other) < 2:
        return math.nan, math.nan
    if own.var() == 0 and other.var() == 0:
        return float(own[0] - other[0]), float(own[0] - other[0])
    found = ttest_ind(own, other, equal_var=False).confidence_interval(LEVEL)
    return float(found.low), float(found.high)


def permutation_p(own: Values, other: Values, seed: int = 0) -> tuple[float, bool]:
    """How often an assignment of all results to two groups of these sizes has the first one at least so far ahead.

    All C(n + m, n) assignments where there are at most `EXACT`; else `DRAWS` random ones beside the true one, so that
    p is never 0 (Phipson and Smyth, "Permutation p-values should never be zero", 2010). Second: whether it was exact.
    """
    pooled, size = np.concatenate([np.asarray(own, float), np.asarray(other, float)]), len(own)
    # The total is fixed, so the difference of means grows with the first group's sum.
    least = pooled[:size].sum() - 1e-9 * max(1e-300, np.abs(pooled).sum())  # sums in another order round differently
    count = math.comb(len(pooled), size)
    if count <= EXACT:
        ahead = sum(int((pooled[rows].sum(1) >= least).sum()) for rows in _all(len(pooled), size))
        return ahead / count, True
    rng = np.random.default_rng(seed)
    drawn = sum(rng.permutation(pooled)[:size].sum() >= least for _ in range(DRAWS))
    return (int(drawn) + 1) / (DRAWS + 1), False


def _all(total: int, size: int) -> Iterator[np.ndarray]:
    """Every choice of `size` places among `total`, as (rows, size) a chunk."""
    places = combinations(range(total), size)
    while chunk := list(islice(places, CHUNK)):
        yield np.fromiter(chain.from_iterable(chunk), dtype=np.intp).reshape(-1, size)


def holm(p_values: Sequence[float]) -> list[float]:
    """The same p-values for as many questions at once (Holm, "A simple sequentially rejective test", 1979).

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order, found, largest = sorted(range(len(p_values)), key=lambda i: p_values[i]), [1.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        found[place] = largest
    return found
