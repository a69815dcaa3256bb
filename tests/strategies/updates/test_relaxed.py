"""RARTS against its closed form, and that its second weights go through checkpoints and leave with candidates."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from bilevel import Bilevel
from engines import DATA, engine

from dashfx.strategies.updates import Relaxed
from dashfx.strategies.updates.relaxed import STATE


@pytest.mark.parametrize(("lam", "beta"), [(10.0, 10.0), (2.0, 5.0)])
def test_it_comes_to_its_closed_form(lam: float, beta: float) -> None:
    a, w = Bilevel(Relaxed(lam, beta), rate=0.02, alpha_rate=0.04).fit(700)
    best = 2 / (2 - 1 / (2 * lam) - 1 / beta)
    assert (a, w) == pytest.approx((best, best - best / (2 * lam)), abs=1e-4)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_its_second_weights_are_kept_beside_the_momentum(optimizer: str) -> None:
    options: dict[str, Any] = {"update": "relaxed", "warmup": 0, "optimizer": optimizer, "lr": 0.01}
    made, other = engine(**options), engine(**options)
    batch = made.training_data(DATA).train.__getitems__(range(16))
    for _ in range(2):
        made.step(batch)
    other.training_data(DATA)
    other.load_state_dict(made.state_dict())
    y, again = ([e.optimisers["weights"].state[w][STATE] for w in e.learning] for e in (made, other))
    assert all(torch.equal(one, two) for one, two in zip(y, again, strict=True))
    assert not all(torch.equal(one, w) for one, w in zip(y, made.learning, strict=True))
    kept = made.optimisers["weights"].state[made.sites["conv1"].weights[2]][STATE]
    made.keep("conv1", [0, 2])
    assert torch.equal(made.optimisers["weights"].state[made.sites["conv1"].weights[1]][STATE], kept)
    made.step(batch)


def test_only_one_set_of_weights_moves_during_the_warm_up() -> None:
    made = engine(update="relaxed", warmup=0.5)
    made.step(made.training_data(DATA).train.__getitems__(range(16)))
    assert not any(STATE in known for known in made.optimisers["weights"].state.values())
