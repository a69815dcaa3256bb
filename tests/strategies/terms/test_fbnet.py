"""The added and the multiplied penalty: closed forms, the table at every corner, and what they do to a search."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from engines import BATCH, TASK, engine
from toys import ToyNet

from dashfx.cost.counts import parameters_of
from dashfx.errors import ConfigError
from dashfx.strategies.engine import Engine
from dashfx.strategies.expected import expected_cost_of, noise_free
from dashfx.strategies.terms import CostLog, CostPower, Moment
from dashfx.strategies.terms.fbnet import PARTS

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


def test_the_loss_becomes_the_product() -> None:
    made = engine(terms=["cost-log:cost=params"], warmup=0, cost_weight=0)
    made.model.eval()  # no noise, so that two calls are of one mixture
    plain = engine(warmup=0, cost_weight=0)
    plain.model.eval()
    coef = {name: torch.tensor([0.1, 0.2, 0.3, 0.4]) for name in made.sites}
    loss = float(plain.loss(BATCH, coef=coef).detach())
    parts = PARTS * float(expected_cost_of(made, "params")(coef))
    assert float(made.loss(BATCH, coef=coef).detach()) == pytest.approx(loss * 0.2 * math.log(parts) ** 0.6, rel=1e-5)


def test_the_gradient_of_the_product_is_that_of_finite_differences() -> None:
    made = engine()
    term = CostLog("params")
    term.begin(made)
    output = torch.randn(16, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rows = {name: torch.full((4,), 0.25, dtype=torch.float64) for name in made.sites}
    first, *_ = rows

    def value(at: torch.Tensor) -> torch.Tensor:
        return term(Moment(made, BATCH, output, {**rows, first: at}, "both"))

    assert torch.autograd.gradcheck(value, [rows[first].clone().requires_grad_()], atol=1e-6)
    assert float(TASK.loss(output.float(), BATCH[1])) > 0


def test_costs_of_nothing_count_as_two_parts() -> None:
    made = engine()
    term = CostLog("params")
    term.begin(made)
    coef = {name: torch.zeros(4) for name in made.sites}
    output = torch.zeros(16, 3)
    expected = math.log(3) * (0.2 * math.log(2) ** 0.6 - 1)
    assert float(term(Moment(made, BATCH, output, coef, "both"))) == pytest.approx(expected, rel=1e-5)
