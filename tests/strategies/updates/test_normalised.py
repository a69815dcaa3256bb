"""Normalised gradients: what the mixtures descend on, around every other update."""

from __future__ import annotations

import pytest
import torch
from engines import BATCH, DATA, alphas, engine, moved
from torch import Tensor

from dashfx.errors import ConfigError
from dashfx.plugins import find
from dashfx.strategies.updates import FirstOrder, Normalised, OneLevel

PLAIN = {"warmup": 0.0, "cost_weight": 0.0, "alpha_optimizer": "sgd:momentum=0", "weight_decay": 0.0}
SPANS = torch.tensor([3.0, 5.0, 5.0, 9.0])  # of kernels 3 and 5, dilations 1 and 2


def gradients(update: str) -> list[Tensor]:
    made = engine(update=update, **PLAIN)
    batch = made.training_data(DATA).train.__getitems__(range(16))
    made.step(batch)
    return [alpha.grad for alpha in made.alphas]


@pytest.mark.parametrize("inner", ["one-level", "first-order"])
@pytest.mark.parametrize("pull", [0.0, 0.01])
def test_each_site_descends_on_its_direction_and_the_pull(inner: str, pull: float) -> None:
    plain, found = gradients(inner), gradients(f"normalised:inner={inner},scale=4,pull={pull}")
    for before, after in zip(plain, found, strict=True):
        torch.testing.assert_close(after, before / (4 * before.norm()) + pull * SPANS)


def test_the_step_is_that_of_the_normalised_gradient() -> None:
    made = engine(update="normalised:scale=4", alpha_lr=0.5, **PLAIN)
    made.step(BATCH)
    for alpha in alphas(made):
        torch.testing.assert_close(alpha.norm(), torch.tensor(0.5 / 4))


def test_a_gradient_of_zero_stays_zero() -> None:
    made = engine(update="normalised", **PLAIN)
    for alpha in made.alphas:
        alpha.grad = torch.zeros_like(alpha)
    made.update.before_alphas(made)
    assert all(torch.equal(alpha.grad, torch.zeros(4)) for alpha in made.alphas)


def test_nothing_moves_during_the_warm_up() -> None:
    made = engine(update="normalised", warmup=0.5)
    before = alphas(made)
    made.step(BATCH)
    assert not any(moved(before, alphas(made)))


def test_it_takes_what_its_inner_update_takes() -> None:
    assert find("update", "normalised") == Normalised(OneLevel(), 10.0, 0.0)
    assert find("update", "normalised:inner=first-order").uses_held_out and not Normalised().uses_held_out
    assert Normalised(FirstOrder()).inner == FirstOrder()
    with pytest.raises(ConfigError, match="scale"):
        find("update", "normalised:scale=0")


def test_half_precision_that_scales_gradients_is_refused() -> None:
    made = engine(update="normalised")
    made.accelerator.state._mixed_precision = "fp16"
    try:
        with pytest.raises(ConfigError, match=r"search\.update=normalised takes gradients that amp fp16"):
            made.update.begin(made)
    finally:
        made.accelerator.state._mixed_precision = "no"
