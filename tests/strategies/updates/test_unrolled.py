"""Second-order DARTS against its closed form and against differentiation of the whole step."""

from __future__ import annotations

import pytest
import torch
from bilevel import Bilevel
from smooth import batch, smooth

from dashfx.strategies.updates import FirstOrder, Unrolled


@pytest.mark.parametrize("xi", [0.1, 0.5, None])
def test_it_comes_to_its_closed_form(xi: float | None) -> None:
    a, w = Bilevel(Unrolled(xi)).fit()
    assert (a, w) == pytest.approx((2 / (1 + 2 * (xi or 0.3)),) * 2, abs=1e-4)


def test_first_order_does_not() -> None:
    assert Bilevel(FirstOrder()).fit() == pytest.approx((2.0, 2.0), abs=1e-4)


@pytest.mark.parametrize("ndim", [1, 2])
@pytest.mark.parametrize("xi", [None, 0.3])
def test_the_gradient_is_that_of_the_step_as_a_whole(ndim: int, xi: float | None) -> None:
    made = smooth(ndim, update=Unrolled(xi), lr=0.05, lr_rest=0.5, weight_decay=0.1)
    train, valid = batch(ndim, 1), batch(ndim, 2)
    made.step_weights(made.loss(train))  # so that there is momentum
    for group in made.optimisers["weights"].param_groups:
        group["lr"] = 0.05 * group["share"]
    made.begin_epoch(0, 3)
    found = made.update.gradient(made, train, valid)
    made.begin_epoch(0, 3)
    coef = made.coefficients()
    named = {name: p for name, p in made.plain.named_parameters() if not name.endswith("alpha")}
    slopes = torch.autograd.grad(made.loss(train, coef=coef), list(named.values()), create_graph=True)
    ahead = {}
    for (name, w), slope in zip(named.items(), slopes, strict=True):
        rate = xi or (0.05 if name.startswith("conv") else 0.025)
        decay = 0.1 if w.ndim > 1 else 0.0
        ahead[name] = w - rate * (slope + 0.9 * made.optimisers["weights"].state[w]["momentum_buffer"] + decay * w)
    expected = torch.autograd.grad(made.loss(valid, params=ahead), made.alphas)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-12)


def test_a_step_moves_mixtures_first_and_leaves_nothing_of_the_look_ahead() -> None:
    made, plain = smooth(update=Unrolled()), smooth()
    train, valid = batch(1, 1), batch(1, 2)
    made._next_held_out = lambda: valid
    gradient = made.update.gradient(made, train, valid)
    for alpha, each in zip(plain.alphas, gradient, strict=True):
        alpha.grad = each
    plain.step_alphas()
    made.begin_epoch(0, 1)
    made.step(train)
    assert all(torch.equal(a, b) for a, b in zip(made.alphas, plain.alphas, strict=True))
