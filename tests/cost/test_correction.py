"""Correction of sums: a planted overhead is found, noise is not taken for one, and too little tells nothing."""

from __future__ import annotations

import numpy as np
import pytest

from dashfx.cost.latency.correction import LEAST, correction


def test_a_planted_overhead_and_factor_are_found() -> None:
    sums = np.linspace(1e-3, 3e-3, 9)
    found = correction(list(sums), list(4e-4 + 0.7 * sums))
    assert found is not None and found.used and found.n == 9
    assert found.offset == pytest.approx(4e-4) and found.scale == pytest.approx(0.7)
    assert found.fitted == pytest.approx(0, abs=1e-9) and found.spearman == pytest.approx(1)
    assert found.line == (found.offset, found.scale) and "which is used" in str(found)


def test_sums_that_tell_the_truth_stay_as_they_are() -> None:
    rng = np.random.default_rng(0)
    sums = rng.uniform(1.0, 2.0, 12)
    noisy = sums * np.where(rng.random(12) < 0.3, 1.2, 1.0)  # most are exact, some were disturbed
    found = correction(list(sums), list(noisy))
    assert found is not None and not found.used and found.line == (0.0, 1.0) and "not used" in str(found)


def test_a_line_that_falls_is_none_to_reckon_with() -> None:
    sums = np.linspace(1.0, 2.0, 8)
    found = correction(list(sums), list(3.0 - sums))
    assert found is not None and found.scale < 0 and not found.used and found.spearman == pytest.approx(-1)


def test_what_is_left_out_is_not_in_the_fit() -> None:
    """The error of eight points on no line, against the fit without each of them by numpy itself."""
    x, y = np.arange(1.0, 9.0), np.array([3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0, 6.0])
    errors = []
    for i in range(8):
        others = np.arange(8) != i
        slope, offset = np.polyfit(x[others], y[others], 1, w=1 / y[others])
        errors.append(abs(offset + slope * x[i] - y[i]) / y[i])
    found = correction(list(x), list(y))
    assert found is not None and found.fitted == pytest.approx(float(np.median(errors)))
    assert found.plain == pytest.approx(float(np.median(np.abs(x - y) / y)))


@pytest.mark.parametrize("sums", [[1.0, 2.0, 3.0, 4.0, 5.0], [2.0] * 9])
def test_too_few_networks_or_one_sum_tell_nothing(sums: list[float]) -> None:
    assert correction(sums, sums) is None and LEAST == 6
