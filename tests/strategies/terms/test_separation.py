"""Separation: its closed form, and gates that leave one half."""

from __future__ import annotations

import pytest
import torch
from engines import BATCH, engine

from dashfx.strategies.terms import Moment, Separation


def test_it_is_minus_the_mean_square_from_one_half() -> None:
    made = engine()
    coef = {"a": torch.tensor([0.5, 1.0]), "b": torch.tensor([0.0])}
    found = Separation()(Moment(made, BATCH, torch.zeros(1), coef, "alphas"))
    assert float(found) == pytest.approx(-(0.25 + 0.25) / 3)


def test_gates_leave_one_half() -> None:
    def away(weight: float) -> float:
        terms = [f"separation:weight={weight}"]
        made = engine(relaxation="gates", terms=terms, warmup=0, cost_weight=0, alpha_lr=0.05)
        for site in made.sites.values():
            site.alpha.data.copy_(torch.tensor([0.2, -0.2, 0.1, -0.1]))
        for _ in range(15):
            made.step(BATCH)
        return float(torch.cat([site.coefficients().detach() for site in made.sites.values()]).sub(0.5).abs().mean())

    assert away(50.0) > 1.5 * away(0.0)
