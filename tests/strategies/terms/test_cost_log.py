"""The multiplied penalty: the loss becomes the paper's product, gradient included."""

from __future__ import annotations

import math

import pytest
import torch
from engines import BATCH, TASK, engine

from dashfx.strategies.expected import expected_cost_of
from dashfx.strategies.terms import CostLog, Moment
from dashfx.strategies.terms.cost_log import PARTS


def test_the_loss_becomes_the_product() -> None:
    made = engine(terms=["cost-log:cost=params"], warmup=0, cost_weight=0)
    made.model.eval()  # no noise, so that two calls are of one mixture
    plain = engine(warmup=0, cost_weight=0)
    plain.model.eval()
    coef = {name: torch.tensor([0.1, 0.2, 0.3, 0.4]) for name in made.sites}
    loss = float(plain.loss(BATCH, coef=coef).detach())
    parts = PARTS * float(expected_cost_of(made, "params")(coef))
    assert float(made.loss(BATCH, coef=coef).detach()) == pytest.approx(loss * 0.2 * math.log(parts) ** 0.6, rel=1e-5)


def test_the_gradient_is_that_of_finite_differences() -> None:
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
