"""SWATS: Adam before its switch, SGD after, and the switch where and at the rate that the projection says."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dashfx.train.optimisers import Swats

LR, BETAS = 0.3, (0.9, 0.99)
CURVES = torch.tensor([1.0, 3.0, 0.2], dtype=torch.float64)  # of a quadratic bowl


def bowl() -> nn.Parameter:
    return nn.Parameter(torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64))


def descend(p: nn.Parameter, optimiser: torch.optim.Optimizer, steps: int) -> list[Tensor]:
    path = []
    for _ in range(steps):
        p.grad = CURVES * p.detach()
        optimiser.step()
        path.append(p.detach().clone())
    return path


def switch(tolerance: float, steps: int) -> tuple[int, float, list[Tensor]]:
    """By the paper's algorithm in one place: the step of the switch, its rate over `LR`, and the path."""
    w = bowl().detach()
    m, s, v, lam, path, found = torch.zeros(3), torch.zeros(3), torch.zeros(3), 0.0, [], (0, 0.0)
    for k in range(1, steps + 1):
        g = CURVES * w
        if found[0]:
            v = BETAS[0] * v + g
            w = w - (1 - BETAS[0]) * found[1] * LR * v
            path.append(w)
            continue
        m, s = BETAS[0] * m + (1 - BETAS[0]) * g, BETAS[1] * s + (1 - BETAS[1]) * g * g
        d = -LR * (m / (1 - BETAS[0] ** k)) / ((s / (1 - BETAS[1] ** k)).sqrt() + 1e-8)
        w = w + d
        path.append(w)
        gamma = float(d @ d / -(d @ g)) / LR
        lam = BETAS[1] * lam + (1 - BETAS[1]) * gamma
        mean = lam / (1 - BETAS[1] ** k)
        if k > 1 and mean > 0 and LR * abs(mean - gamma) < tolerance:
            found = k, mean
    return *found, path


def test_it_is_adam_bit_for_bit_before_its_switch() -> None:
    (one, other), generator = (bowl(), bowl()), torch.Generator().manual_seed(0)
    swats = Swats([{"params": [one], "weight_decay": 0.1}], LR, BETAS, tolerance=1e-200)
    adam = torch.optim.Adam([other], LR, BETAS, weight_decay=0.1, foreach=False)
    for _ in range(20):
        g = torch.randn(3, generator=generator, dtype=torch.float64)
        one.grad, other.grad = g.clone(), g.clone()
        swats.step()
        adam.step()
        assert torch.equal(one, other)


def test_switch_and_rate_are_those_of_the_projection() -> None:
    tolerance = 1e-2
    step, rate, expected = switch(tolerance, 120)
    p = bowl()
    optimiser = Swats([p], LR, BETAS, tolerance)
    path = descend(p, optimiser, 120)
    assert 50 < step < 110
    assert optimiser.state[p]["step"] == step and optimiser.state[p]["rate"] == pytest.approx(rate, rel=1e-9)
    torch.testing.assert_close(torch.stack(path), torch.stack(expected), rtol=1e-9, atol=1e-12)


def test_the_schedule_goes_on_through_the_switch() -> None:
    p = bowl()
    optimiser = Swats([p], LR, BETAS, tolerance=1e-2)
    descend(p, optimiser, 100)
    (group,), state = optimiser.param_groups, optimiser.state[p]
    before, v = p.detach().clone(), state["momentum_buffer"].clone()
    group["lr"] = LR / 10
    (after,) = descend(p, optimiser, 1)
    moved = (1 - BETAS[0]) * state["rate"] * (LR / 10) * (BETAS[0] * v + CURVES * before)
    torch.testing.assert_close(after, before - moved, rtol=1e-12, atol=0)


def test_groups_switch_each_for_itself_and_the_state_survives() -> None:
    def made() -> tuple[list[nn.Parameter], Swats]:
        own = [bowl(), nn.Parameter(torch.ones(2, dtype=torch.float64))]
        return own, Swats([{"params": [each]} for each in own], LR, BETAS, tolerance=1e-2)

    def steps(own: list[nn.Parameter], optimiser: Swats, of: range) -> None:
        for k in of:
            own[0].grad, own[1].grad = CURVES * own[0].detach(), own[1].detach() * (1.0 if k % 2 else -0.9)
            optimiser.step()

    straight, optimiser = made()
    steps(straight, optimiser, range(120))
    first_switch, last_switch = sorted(optimiser.state[each]["step"] for each in straight)
    assert first_switch < 50 < last_switch < 100
    for cut in (3, 50, 100):  # before, between and after them
        first, half = made()
        steps(first, half, range(cut))
        again, rest = made()
        for mine, kept in zip(again, first, strict=True):
            mine.data.copy_(kept.data)
        state: dict[str, Any] = half.state_dict()
        rest.load_state_dict(state)
        steps(again, rest, range(cut, 120))
        assert all(torch.equal(a, b) for a, b in zip(again, straight, strict=True))
