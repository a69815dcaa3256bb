"""Statistics of a study against brute force and closed forms; what chance shows is calibrated over fixed seeds."""

from __future__ import annotations

import math
from itertools import permutations
from statistics import fmean

import numpy as np
import pytest
from scipy.stats import ttest_ind

from dashfx.study import statistics
from dashfx.study.statistics import holm, improvement, permutation_p, welch

RANDOM = [0.61, 0.64, 0.58, 0.66, 0.63, 0.6, 0.65, 0.62]


def by_hand(own: list[float], other: list[float]) -> float:
    """Every order of all results, the first of which are the method's."""
    pooled, gap = own + other, fmean(own) - fmean(other)
    n = len(own)
    orders = list(permutations(range(len(pooled))))
    gaps = [fmean(pooled[i] for i in o[:n]) - fmean(pooled[i] for i in o[n:]) for o in orders]
    return fmean(each >= gap - 1e-12 for each in gaps)


@pytest.mark.parametrize("own", [[0.7], [0.6, 0.62], [0.61, 0.61, 0.5], [0.1]])
def test_exact_p_counts_every_assignment(own: list[float]) -> None:
    other = [0.61, 0.5, 0.62, 0.55]  # with ties
    p, exact = permutation_p(own, other)
    assert exact and p == pytest.approx(by_hand(own, other))


def test_an_oracle_has_the_smallest_p_there_is() -> None:
    p, exact = permutation_p([0.9, 0.91, 0.92], RANDOM)
    assert exact and p == 1 / math.comb(11, 3) and p < 0.01
    assert permutation_p([0.1, 0.1, 0.1], RANDOM) == (1.0, True)


def test_equal_results_tell_nothing() -> None:
    assert permutation_p([0.3, 0.3], [0.3] * 5) == (1.0, True)


def test_many_assignments_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    own, other = [0.66, 0.64, 0.67], RANDOM
    exactly, _ = permutation_p(own, other)
    monkeypatch.setattr(statistics, "EXACT", 10)
    drawn, exact = permutation_p(own, other, seed=1)
    error = math.sqrt(exactly * (1 - exactly) / statistics.DRAWS)
    assert not exact and abs(drawn - exactly) < 5 * error
    assert permutation_p(own, other, seed=1)[0] == drawn != permutation_p(own, other, seed=2)[0]
    monkeypatch.setattr(statistics, "DRAWS", 5)
    assert permutation_p([9.0, 9.1, 9.2, 9.3], RANDOM, seed=0) == (1 / 6, False)  # never 0


def test_relative_improvement_is_that_of_the_means() -> None:
    found = improvement([0.7, 0.72], RANDOM)
    assert found.ri == pytest.approx(100 * (0.71 - fmean(RANDOM)) / fmean(RANDOM))
    low, high = ttest_ind([0.7, 0.72], RANDOM, equal_var=False).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((100 * low / fmean(RANDOM), 100 * high / fmean(RANDOM)))
    assert found.better == 1.0 and found.exact


def test_less_is_better_of_errors() -> None:
    as_error = improvement([0.5, 0.52], RANDOM, maximise=False)
    assert as_error.ri == pytest.approx(100 * (fmean(RANDOM) - 0.51) / fmean(RANDOM)) and as_error.better == 1.0
    assert as_error.p == 1 / math.comb(10, 2)
    assert improvement([0.5, 0.52], RANDOM).p == 1.0


def test_a_negative_mean_keeps_its_sense_and_zero_has_none() -> None:
    assert improvement([-0.1, -0.1], [-0.2] * 5).ri == pytest.approx(50)
    assert math.isnan(improvement([0.1, 0.1], [-0.1, 0.1, 0.0, 0.0, 0.0]).ri)


def test_ties_count_half() -> None:
    assert improvement([0.5], [0.5, 0.5, 0.4, 0.6, 0.4]).better == pytest.approx((0.5 + 0.5 + 1 + 0 + 1) / 5)


def test_an_interval_needs_two_results() -> None:
    assert all(map(math.isnan, welch(np.array([1.0]), np.array([1.0, 2.0]))))
    assert welch(np.array([2.0, 2.0]), np.array([1.5, 1.5])) == (0.5, 0.5)


def test_holm_is_the_rule_of_the_paper() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0] and holm([0.2]) == [0.2] and holm([]) == []


def test_a_method_that_is_random_has_zero_within_its_interval() -> None:
    """Calibrated over 2,000 draws: .94 of them; a level of p is met as often as it says, or less."""
    rng = np.random.default_rng(0)
    drawn = [(rng.normal(0.8, 0.02, 3), rng.normal(0.8, 0.02, 8)) for _ in range(200)]
    found = [improvement(own, other) for own, other in drawn]
    assert sum(each.low <= 0 <= each.high for each in found) >= 180
    assert sum(each.p <= 0.05 for each in found) <= 20
