"""The added penalty: its gradient in closed form, the table at every corner, and what it does to a search."""

from __future__ import annotations

import itertools

import pytest
import torch
from engines import BATCH, engine
from toys import ToyNet

from dashfx.cost.counts import parameters_of
from dashfx.errors import ConfigError
from dashfx.strategies.engine import Engine
from dashfx.strategies.expected import expected_cost_of, noise_free
from dashfx.strategies.terms import CostPower, Moment

OWN = 4 * (2 * 3 + 1) + 4 * (4 * 3 + 1)  # parameters of the two convs


def moment(made: Engine, coef: dict[str, torch.Tensor]) -> Moment:
    return Moment(made, BATCH, torch.zeros(16, 3), coef, "both")


def started(made: Engine, **options: float) -> CostPower:
    term = CostPower("params", **options)
    term.begin(made)
    return term


def test_the_gradient_of_an_expected_cost_is_that_of_a_softmax() -> None:
    """dE/da = p (l - E) at each site (for E of the site), as every softmax has it."""
    made = engine(relaxation="softmax", tau=[1.0, 1.0])
    expected = expected_cost_of(made, "params")
    for alpha in made.alphas:
        alpha.data.copy_(torch.randn(4, generator=torch.Generator().manual_seed(1)))
    found = torch.autograd.grad(expected(noise_free(made)), made.alphas)
    for name, slope in zip(made.sites, found, strict=True):
        p, row = made.sites[name].alpha.detach().softmax(-1), expected.table[name]
        torch.testing.assert_close(slope, p * (row - (p * row).sum()), atol=1e-6, rtol=1e-5)


def test_the_penalty_is_the_power_of_a_share() -> None:
    made = engine()
    for picks in itertools.product(range(4), repeat=2):
        coef = {name: torch.eye(4)[i] for name, i in zip(made.sites, picks, strict=True)}
        taps = [made.sites[name].candidates[i].taps for name, i in zip(made.sites, picks, strict=True)]
        cost = 4 * (2 * taps[0] + 1) + 4 * (4 * taps[1] + 1)
        assert float(started(made, power=0.5)(moment(made, coef))) == pytest.approx((cost / OWN) ** 0.5)


def test_under_a_budget_of_that_cost_the_whole_model_counts() -> None:
    made = engine(budgets=["params=1000"])
    expected = expected_cost_of(made, "params")
    coef = {name: torch.eye(4)[0] for name in made.sites}
    assert float(expected(coef)) == pytest.approx(parameters_of(ToyNet()) / 1000)
    assert float(started(made)(moment(made, coef))) == pytest.approx(1)


def test_a_heavier_penalty_ends_at_a_lower_cost() -> None:
    ends = []
    for weight in (0.0, 30.0):
        term = f"cost-power:cost=params,weight={weight}"
        made = engine(terms=[term], warmup=0, cost_weight=0, tau=[1.0, 1.0], alpha_lr=0.1)
        for _ in range(6):
            made.step(BATCH)
        ends.append(float(expected_cost_of(made, "params")(noise_free(made))))
    assert ends[0] > ends[1]


def test_a_cost_without_totals_is_refused() -> None:
    with pytest.raises(ConfigError, match="cost 'span' is no cost of a whole network"):
        engine(terms=["cost-power:cost=span"])
