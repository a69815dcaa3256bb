"""Derivatives of a search's loss: exact against autograd on smooth nets, and one line where there is none."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from smooth import SmoothNet, batch, smooth
from torch import Tensor, nn

from dashfx.errors import ConfigError
from dashfx.strategies.updates import Amended, Unrolled


def close(found: list[Tensor], expected: Any) -> None:
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("ndim", [1, 2])
def test_gradients_are_those_of_backward(ndim: int) -> None:
    made, data = smooth(ndim), batch(ndim, 1)
    coef = made.coefficients()
    found = made.gradients(made.loss(data, coef=coef), [*made.alphas, *made.learning])
    made.zero_grad()
    made.begin_epoch(0, 1)
    made.loss(data).backward()
    close(found, [p.grad for p in [*made.alphas, *made.learning]])
    unreached = torch.zeros(2, requires_grad=True)
    assert torch.equal(made.gradients(made.loss(data), [unreached])[0], torch.zeros(2))


@pytest.mark.parametrize("ndim", [1, 2])
def test_the_mixed_product_is_the_derivative_of_the_gradient(ndim: int) -> None:
    """Central differences along v, whose error is of the order of the step squared."""
    made, data, step = smooth(ndim, cost_weight=0), batch(ndim, 1), 1e-4
    coef = made.coefficients()
    v = [torch.randn_like(w) for w in made.learning]
    wrt = [*made.alphas, *made.learning]
    with made.second_order():
        found = made.mixed_product(data, v, wrt, coef)
    sides = []
    for sign in (1, -1):
        values = [w.detach() + sign * step * each for w, each in zip(made.learning, v, strict=True)]
        with made.displaced(made.learning, values):
            coef = fresh(made)
            sides.append(made.gradients(made.loss(data, coef=coef), wrt))
    for one, up, down in zip(found, *sides, strict=True):
        torch.testing.assert_close(one, (up - down) / (2 * step), rtol=1e-5, atol=1e-6)


def fresh(made: Any) -> dict[str, Tensor]:
    made.begin_epoch(0, 1)
    drawn: dict[str, Tensor] = made.coefficients()
    return drawn


@pytest.mark.parametrize("ndim", [1, 2])
def test_the_hessian_is_that_of_the_loss_as_a_function(ndim: int) -> None:
    made, data = smooth(ndim), batch(ndim, 1)
    sizes = [len(alpha) for alpha in made.alphas]

    def loss(flat: Tensor) -> Tensor:
        mixed = [part.softmax(-1) for part in flat.split(sizes)]
        return made.loss(data, coef=dict(zip(made.sites, mixed, strict=True)))

    found = made.alpha_hessian(data)
    assert made.model.training and torch.equal(found, found.T)
    with made.evaluating():
        expected = torch.autograd.functional.hessian(loss, torch.cat([a.detach() for a in made.alphas]))
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-12)


def test_a_state_that_is_left_is_as_it_was_bit_for_bit() -> None:
    made, data = smooth(), batch(1, 1)
    made.sites["conv1"].algorithm = "fourier"
    before = {name: value.clone() for name, value in made.plain.state_dict().items()}
    with pytest.raises(KeyError), made.second_order(), made.displaced(made.learning, [w + 1 for w in made.learning]):
        assert made.sites["conv1"].algorithm == "mixed_weights"
        made.loss(data)
        assert not torch.equal(made.plain.norm.running_mean, before["norm.running_mean"])
        raise KeyError
    assert made.sites["conv1"].algorithm == "fourier"
    assert all(torch.equal(value, before[name]) for name, value in made.plain.state_dict().items())


@pytest.mark.parametrize("update", [Unrolled(0.5), Amended(0.3)])
def test_sites_by_fourier_are_differentiated_twice_all_the_same(update: Unrolled | Amended) -> None:
    """Fourier transforms have no second derivative here; were one asked of them, it would be a RuntimeError."""
    found = []
    for algorithm in ("fourier", "mixed_weights"):
        made = smooth(2, update=update)
        for site in made.sites.values():
            site.algorithm = algorithm
        found.append(torch.cat(update.gradient(made, batch(2, 1), batch(2, 2))))
    torch.testing.assert_close(*found, rtol=1e-8, atol=1e-12)


class Halved(torch.autograd.Function):
    """Half of it, with a derivative that has none."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x / 2

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient / 2


class OnceOnly(SmoothNet):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + Halved.apply(self.fc.weight.sum())


def test_what_cannot_be_differentiated_twice_is_one_line_before_training() -> None:
    with pytest.raises(
        ConfigError, match=r"search.update=unrolled differentiates the model twice, .*=first-order"
    ) as e:
        smooth(update=Unrolled(), net=OnceOnly(1))
    assert "\n" not in str(e.value)
    smooth(net=OnceOnly(1))


def test_half_precision_that_scales_its_loss_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    made = smooth()
    monkeypatch.setattr(type(made.accelerator), "mixed_precision", "fp16")
    with pytest.raises(ConfigError, match="use --amp bf16 or --amp no"):
        made.need_second_order("this")


def test_models_that_see_nothing_smooth_pass_the_check() -> None:
    class Kinked(SmoothNet):
        def forward(self, x: Tensor) -> Tensor:
            return self.fc(nn.functional.max_pool1d(torch.relu(self.norm(self.conv1(x))), 2)[:, :2].mean(-1))

    smooth(net=Kinked(1)).need_second_order("this")
