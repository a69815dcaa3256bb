"""Predictors: they learn what is there to learn, say the same again, and their spreads mean something."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import kendalltau
from sklearn.linear_model import LinearRegression

from dashfx.blackbox.predictors import (
    PREDICTORS,
    Best,
    Boosting,
    Ensemble,
    GaussianProcess,
    Predictor,
    Ranking,
    Ridge,
    SupportVectors,
)
from dashfx.blackbox.predictors.best import held_out_error
from dashfx.blackbox.predictors.networks.ranking import diff_kendall

LIGHT: dict[str, Predictor] = {name: made() for name, made in PREDICTORS.items()} | {
    "boosting": Boosting(trees=40),
    "ensemble": Ensemble(networks=2, hidden=8, steps=60),
    "ranking": Ranking(hidden=8, steps=60),
}
RNG = np.random.default_rng(0)
X, NEW = RNG.normal(size=(60, 4)), RNG.normal(size=(40, 4))
WEIGHTS = np.array([3.0, -2.0, 1.0, 0.0])


def linear(x: np.ndarray) -> np.ndarray:
    values: np.ndarray = 1e3 + 50 * (x @ WEIGHTS)  # far from 0, in a large unit
    return values


def bent(x: np.ndarray) -> np.ndarray:
    values: np.ndarray = np.cos(2 * x[:, 0])
    return values


def test_the_list_is_complete() -> None:
    assert {type(each) for each in LIGHT.values()} == set(PREDICTORS.values())


@pytest.mark.parametrize("name", LIGHT)
def test_what_is_learned_holds_for_other_rows_and_is_a_function_of_rows_and_seed(name: str) -> None:
    first, again = (LIGHT[name].fit(X, linear(X), 3).predict(NEW) for _ in range(2))
    assert kendalltau(first.mean, linear(NEW)).statistic > 0.6
    assert np.array_equal(first.mean, again.mean) and np.array_equal(first.spread, again.spread)
    assert np.array_equal(first.mean, LIGHT[name].fit(X, linear(X), 3).mean(NEW))
    assert first.mean.shape == first.spread.shape == (40,)
    assert (first.spread >= 0).all() and ((first.spread > 0).any() or not LIGHT[name].has_spread)


@pytest.mark.parametrize("name", LIGHT)
def test_columns_and_values_that_never_change_are_no_trouble(name: str) -> None:
    x = np.concatenate([X[:12], np.ones((12, 2))], axis=1)
    found = LIGHT[name].fit(x, np.full(12, 7.0), 0).predict(x)
    assert np.allclose(found.mean, 7.0) and np.isfinite(found.spread).all()


@pytest.mark.parametrize("name", LIGHT)
def test_three_rows_are_enough(name: str) -> None:
    assert np.isfinite(LIGHT[name].fit(X[:3], linear(X[:3]), 0).predict(NEW).mean).all()


def test_ridge_with_many_rows_is_least_squares() -> None:
    x, noise = RNG.normal(size=(4000, 4)), RNG.normal(size=4000)
    y = linear(x) + noise
    found = Ridge().fit(x, y, 0).predict(NEW)
    assert np.allclose(found.mean, LinearRegression().fit(x, y).predict(NEW), rtol=1e-5)
    assert found.spread == pytest.approx(1.0, rel=0.1)  # the noise's own


def test_a_gaussian_process_is_sure_where_it_has_been() -> None:
    fitted = GaussianProcess().fit(X, bent(X), 0)
    assert fitted.predict(X).spread.max() < 0.5 * fitted.predict(10 * NEW).spread.min()


def test_quantiles_of_boosting_hold_most_of_the_values() -> None:
    y = RNG.normal(size=60)  # of deviation 1, whatever the features
    spread = Boosting(trees=40, leaf=15).fit(X, y, 0).predict(X).spread
    assert 0.4 < spread.mean() < 1.4


@pytest.mark.parametrize(("target", "better"), [(linear, Ridge()), (bent, SupportVectors())])
def test_best_is_the_one_that_errs_less_on_held_out_rows(target: Any, better: Predictor) -> None:
    errors = {each: held_out_error(each, X, target(X), 0) for each in (Ridge(), SupportVectors())}
    assert min(errors, key=errors.__getitem__) == better
    expected = better.fit(X, target(X), 0).predict(NEW).mean
    assert np.array_equal(Best().fit(X, target(X), 0).predict(NEW).mean, expected)


def test_networks_disagree_more_where_they_have_not_been() -> None:
    fitted = Ensemble(networks=3, hidden=16, steps=80).fit(X, linear(X), 0)
    assert fitted.predict(X).spread.mean() < 0.5 * fitted.predict(5 * NEW).spread.mean()


def test_the_soft_tau_tends_to_kendalls_and_has_a_gradient() -> None:
    draw = torch.Generator().manual_seed(0)
    a, b = (torch.randperm(30, generator=draw).double() / 30 for _ in range(2))
    exact = kendalltau(a.numpy(), b.numpy()).statistic
    assert float(diff_kendall(a, b, 1e4)) == pytest.approx(exact, abs=1e-3)
    assert abs(float(diff_kendall(a, b, 1.0))) < abs(exact)
    (slope,) = torch.autograd.grad(diff_kendall(a.requires_grad_(), b, 2.0), a)
    assert (slope != 0).all()


def test_a_network_finds_the_one_column_that_matters() -> None:
    """Of proxies site by site only one tells: better than their sum, from 30 labels."""
    draw = np.random.default_rng(0)
    x = draw.normal(size=(130, 6))
    y = x[:, 2] + 0.2 * draw.normal(size=130)
    found = Ranking(hidden=16, steps=80).fit(x[:30], y[:30], 0).predict(x[30:]).mean
    assert kendalltau(found, y[30:]).statistic >= kendalltau(x[30:].sum(1), y[30:]).statistic + 0.2
