"""The simplex as a relaxation: the parameters are the coefficients."""

from __future__ import annotations

import torch

from dashfx.ops.relaxations import Simplex


def test_points_of_the_simplex_stay_as_they_are() -> None:
    theta = torch.tensor([[0.5, 0.25, 0.25], [0.125, 0.125, 0.75]])
    alive = torch.ones(2, 3, dtype=torch.bool)
    assert torch.equal(Simplex()(theta, alive, torch.Generator()), theta)
    assert torch.equal(Simplex().start(4), torch.full((4,), 0.25))


def test_what_is_left_shares_the_whole() -> None:
    coef = Simplex()(torch.tensor([0.5, 0.25, 0.25]), torch.tensor([True, False, True]))
    torch.testing.assert_close(coef, torch.tensor([2 / 3, 0.0, 1 / 3]))
