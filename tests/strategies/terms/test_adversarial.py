"""The adversarial term: within its bound, no loss of nothing, and stronger attacks find larger losses."""

from __future__ import annotations

import pytest
import torch
from engines import BATCH, engine

from dashfx.errors import ConfigError
from dashfx.strategies.terms import Adversarial, Moment
from dashfx.strategies.terms.adversarial import attacked


def slope(x: torch.Tensor) -> torch.Tensor:
    return (x * torch.tensor([[1.0, -2.0, 0.5]])).sum()


@pytest.mark.parametrize("attack", ["fgsm", "pgd"])
def test_on_a_linear_loss_it_goes_to_the_corner(attack: str) -> None:
    x = torch.zeros(2, 3)
    found = attacked(slope, x, 0.3, attack, torch.Generator().manual_seed(0))
    corner = torch.tensor([[0.3, -0.3, 0.3]] * 2)
    least = 0.3 if attack == "fgsm" else 0.75 * 0.3  # seven steps of a quarter, from the other side at worst
    assert torch.equal(found.sign(), corner.sign()) and least - 1e-6 <= float(found.abs().min()) <= 0.3 + 1e-6
    assert not found.requires_grad


def test_a_bound_is_held_where_the_loss_bends() -> None:
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(1))
    found = attacked(lambda at: torch.sin(9 * at).sum(), x, 0.1, "pgd", torch.Generator().manual_seed(0))
    assert (found - x).abs().max() <= 0.1 + 1e-6 and not torch.equal(found, x)


def test_nothing_moved_is_the_clean_loss_bit_for_bit_and_attacks_grow() -> None:
    losses = {}
    for name, term in {
        "none": "adversarial:eps=0",
        "fgsm": "adversarial:eps=0.2",
        "pgd": "adversarial:eps=0.2,attack=pgd",
    }.items():
        made = engine(terms=[term], warmup=0, cost_weight=0)
        for _ in range(12):
            made.step(BATCH)
        made.model.eval()
        coef = {site: row.detach() for site, row in made.coefficients().items()}
        clean = made.task.loss(made.answer(BATCH[0], coef), BATCH[1])
        losses[name] = float((made.loss(BATCH, coef=coef) - clean).detach())
        if name != "none":  # both attacks on the same net
            moment = Moment(made, BATCH, made.answer(BATCH[0], coef), coef, "both")
            found = {attack: float(Adversarial(0.5, 0.2, attack)(moment).detach()) for attack in ("fgsm", "pgd")}  # type: ignore[arg-type]
            assert found["pgd"] >= 0.98 * found["fgsm"] > 0
    assert losses["none"] == 0 and min(losses["fgsm"], losses["pgd"]) > 0


def test_inputs_that_cannot_move_are_refused() -> None:
    made = engine()
    now = Moment(made, (torch.zeros(2, 3, dtype=torch.long), BATCH[1][:2]), torch.zeros(2, 3), {}, "both")
    with pytest.raises(ConfigError, match="these are whole numbers"):
        Adversarial()(now)
