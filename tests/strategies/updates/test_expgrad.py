"""Exponentiated gradient against its closed form; that it stays on the simplex; that it asks for the simplex."""

from __future__ import annotations

import pytest
import torch
from engines import BATCH, engine

from dashfx.config.run import RunConfig
from dashfx.errors import ConfigError
from dashfx.strategies.named import strategy_of
from dashfx.strategies.updates.expgrad import LEAST, ExpGrad


def test_a_constant_gradient_gives_the_softmax_of_its_sum() -> None:
    theta = torch.nn.Parameter(torch.full((3,), 1 / 3, dtype=torch.float64))
    optimiser, slope = ExpGrad([theta], 0.1), torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    for _ in range(7):
        theta.grad = slope
        optimiser.step()
    torch.testing.assert_close(theta.detach(), (-0.7 * slope).softmax(-1))


def test_it_is_the_step_of_mirror_descent() -> None:
    """The point of the simplex that minimises <g, t> + KL(t, theta) / lr: no other is better."""
    theta = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    moved, slope = torch.nn.Parameter(theta.clone()), torch.tensor([3.0, -1.0, 0.2], dtype=torch.float64)
    moved.grad = slope
    ExpGrad([moved], 0.4).step()
    others = torch.distributions.Dirichlet(torch.ones(3, dtype=torch.float64)).sample((200,))

    def value(t: torch.Tensor) -> torch.Tensor:
        return (slope * t).sum(-1) + torch.special.xlogy(t, t / theta).sum(-1) / 0.4

    assert (value(others) >= value(moved.detach())).all()


@pytest.mark.parametrize("scaled", [False, True])
def test_it_stays_inside_the_simplex_whatever_the_gradient(scaled: bool) -> None:
    theta = torch.nn.Parameter(torch.full((3,), 1 / 3))
    for size in (1e30, 0.0, -1e30):
        theta.grad = torch.tensor([size, 0.0, 1.0])
        ExpGrad([theta], 0.1, scaled).step()
        assert theta.detach().sum().item() == pytest.approx(1) and (theta > LEAST / 2).all()


def test_a_search_keeps_its_coefficients_on_the_simplex_when_candidates_leave() -> None:
    made = engine(relaxation="simplex", alpha_optimizer="expgrad", warmup=0)
    for alpha in made.alphas:
        alpha.data.fill_(0.25)
    made.step(BATCH)
    assert all(alpha.detach().sum().item() == pytest.approx(1) for alpha in made.alphas)
    made.keep("conv1", [0, 2])
    assert made.sites["conv1"].coefficients().detach().sum().item() == pytest.approx(1)
    made.step(BATCH)
    assert made.sites["conv1"].alpha.detach().sum().item() == pytest.approx(1)


@pytest.mark.parametrize(
    ("search", "said"),
    [
        ({"relaxation": "simplex"}, "alpha_optimizer=adam does not fit Simplex"),
        ({"alpha_optimizer": "expgrad"}, "alpha_optimizer=expgrad does not fit SoftGumbel"),
        ({"alpha_optimizer": "expgrad", "relaxation": "simplex", "lead": 0.5}, "relaxation=simplex has none"),
    ],
)
def test_options_that_do_not_fit_are_one_line(search: dict[str, object], said: str) -> None:
    config = RunConfig.parse({"search": search})
    with pytest.raises(ConfigError, match=said) as raised:
        strategy_of(config).check(config)
    assert "\n" not in str(raised.value)
