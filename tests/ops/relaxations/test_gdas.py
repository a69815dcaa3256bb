"""GDAS: one candidate at a time, drawn as the softmax says, with the gradient of the softmax."""

from __future__ import annotations

import torch

from dashfx.ops.relaxations import GDAS, Progress, SoftGumbel

LOGITS = torch.tensor([0.3, -1.0, 2.0, 0.0], dtype=torch.float64)
ALIVE = torch.tensor([True, True, True, False])


def test_values_are_one_hot_and_gradients_those_of_the_softmax() -> None:
    weights = torch.randn(4, dtype=torch.float64)
    found = []
    for relaxation in (GDAS(hot=2.0), SoftGumbel(2.0)):
        logits = LOGITS.clone().requires_grad_()
        coef = relaxation(logits, ALIVE, torch.Generator().manual_seed(3))
        (coef * weights).sum().backward()
        found.append((coef.detach(), logits.grad))
    (one, gradient), (soft, expected) = found
    assert torch.equal(one, torch.nn.functional.one_hot(soft.argmax(), 4).double())
    torch.testing.assert_close(gradient, expected)


def test_candidates_are_drawn_as_the_softmax_says_at_any_temperature() -> None:
    alive = torch.ones(20000, 4, dtype=torch.bool)
    for tau in (10.0, 0.1):
        drawn = GDAS(hot=tau)(LOGITS.repeat(20000, 1), alive, torch.Generator().manual_seed(3))
        torch.testing.assert_close(drawn.mean(0), LOGITS.softmax(-1), atol=0.015, rtol=0)


def test_without_noise_it_is_the_likeliest() -> None:
    assert torch.equal(GDAS()(LOGITS, ALIVE, None), torch.tensor([0.0, 0, 1, 0], dtype=torch.float64))


def test_the_temperature_falls_in_equal_steps() -> None:
    relaxation = GDAS()
    for share, expected in ((0.0, 10.0), (0.5, 5.05), (1.0, 0.1)):
        relaxation.begin(Progress(0, share, True))
        assert abs(relaxation.state_dict()["now"] - expected) < 1e-12
