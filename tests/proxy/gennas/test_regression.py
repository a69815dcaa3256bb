"""The regression: heads fit what is linear in their features, weight decay spares biases, weights share the loss."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from dashfx.proxy.gennas.regression import Head, Regressor, Stages, regress, sgd
from dashfx.proxy.gennas.score import noisy
from dashfx.proxy.gennas.tasks import Noise


class Fixed(nn.Module):
    """Hands its input on as the feature of every stage."""

    def __init__(self, stages: int = 1) -> None:
        super().__init__()
        self._stages = stages

    def forward(self, x: Tensor) -> list[Tensor]:
        return [x] * self._stages


def fit(target: Tensor, x: Tensor, iterations: int) -> float:
    torch.manual_seed(0)
    model = Regressor(Fixed(), [Head(x.shape[1], target.shape[1], x.ndim - 2)])
    return regress(model, lambda: x, x, Stages([target], [1.0]), sgd(model, 0.1), iterations)


@pytest.mark.parametrize("grid", [(64,), (8, 8)])
def test_a_head_fits_what_is_linear_in_its_features_and_nothing_else(grid: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(16, 3, *grid, generator=generator)
    mixed = torch.einsum("oc,nc...->no...", torch.randn(5, 3, generator=generator), x) + 0.5
    assert fit(mixed, x, 200) < 0.02 * float(mixed.square().mean())
    unrelated = torch.randn(16, 5, *grid, generator=generator)
    assert fit(unrelated, x, 200) > 0.9


def test_the_loss_falls_and_is_measured_in_eval_mode() -> None:
    x = torch.randn(16, 3, 8, 8, generator=torch.Generator().manual_seed(0)) + 4
    assert fit(x * 2, x, 1) > 100 * fit(x * 2, x, 300)
    model, stages = Regressor(Fixed(), [Head(3, 3, 2)]), Stages([x * 2], [1.0])
    score = regress(model, lambda: x, x, stages, sgd(model, 0.1), 3)
    with torch.no_grad():
        assert score == float(stages.loss(model.eval()(x)))
        assert abs(score - float(stages.loss(model.train()(x)))) > 0.1


def test_stages_share_the_loss_by_their_weights() -> None:
    zeros, ones = torch.zeros(2, 1, 8), torch.ones(2, 1, 8)
    assert float(Stages([ones, 2 * ones], [0.25, 1.0]).loss([zeros, zeros])) == 0.25 + 4


def test_weight_decay_leaves_biases_and_norms_alone() -> None:
    model = Regressor(Fixed(), [Head(3, 4, 2)])
    decays = {p.ndim: g["weight_decay"] for g in sgd(model, 0.1).param_groups for p in g["params"]}
    assert decays == {4: 4e-5, 1: 0.0}


@pytest.mark.parametrize("kind", ["gaussian", "uniform"])
def test_noise_is_fresh_and_of_its_level(kind: str) -> None:
    x, generator = torch.zeros(4, 3, 64, 64), torch.Generator().manual_seed(0)
    first, second = (noisy(x, Noise(kind, 0.3), generator) for _ in range(2))
    assert not torch.equal(first, second)
    assert float(first.std()) == pytest.approx(0.3, rel=0.02) and abs(float(first.mean())) < 0.01
    assert noisy(x, Noise(kind, 0.0), generator) is x
