"""AutoHAS: a look leaves no trace, and what a draw of candidates and rates is worth moves both."""

from __future__ import annotations

import torch
from engines import BATCH, DATA, engine, same, state

from dashfx.strategies.updates.sampled.autohas import AutoHas, looked_at


def test_the_temporary_step_leaves_the_weights_bit_for_bit() -> None:
    made = engine(relaxation="categorical", update="autohas", warmup=0)
    drawn = dict.fromkeys(made.sites, 1)
    before = state(made)
    slopes = [torch.ones_like(w) for w in made.learning]
    losses = [looked_at(made, slopes, factor, BATCH, drawn) for factor in (0.0, 1.0, 100.0)]
    assert same(state(made), before) and len(set(losses)) == 3
    with torch.no_grad():
        made.model.train()
        clean = made.task.loss(made.answer(BATCH[0], drawn), BATCH[1])
    assert losses[0] == float(clean)


def test_a_factor_that_ruins_the_weights_loses() -> None:
    made = engine(relaxation="categorical", update="autohas:factors=[1.0,1000.0],rate=0.3", warmup=0, lr=0.01)
    batch = made.training_data(DATA).train.__getitems__(range(16))
    update = made.update
    assert isinstance(update, AutoHas)
    for _ in range(12):
        drawn = dict.fromkeys(made.sites, 0)
        advantage = update._advantage(-looked_at(made, [torch.ones_like(w) for w in made.learning], 1.0, batch, drawn))
        update._climb(made, drawn, 0, advantage)
        bad = update._advantage(-looked_at(made, [torch.ones_like(w) for w in made.learning], 1000.0, batch, drawn))
        update._climb(made, drawn, 1, bad)
    assert torch.tensor(update.logits).softmax(0)[0] >= 0.9


def test_the_weights_move_by_the_drawn_factor() -> None:
    def moved(factor: float) -> torch.Tensor:
        plain = {"momentum": 0.0, "weight_decay": 0.0, "clip": 0.0}
        update = f"autohas:factors=[{factor}]"
        made = engine(relaxation="categorical", update=update, warmup=0, **plain)
        batch = made.training_data(DATA).train.__getitems__(range(16))
        before, rate = made.plain.fc.weight.detach().clone(), made.rate
        made.step(batch)
        assert made.rate == rate
        return made.plain.fc.weight.detach() - before

    torch.testing.assert_close(moved(2.0), 2 * moved(1.0), rtol=1e-3, atol=1e-7)


def test_a_policy_gradient_raises_what_did_better() -> None:
    made = engine(relaxation="categorical", update="autohas", warmup=0, alpha_lr=0.1)
    update = made.update
    assert isinstance(update, AutoHas)
    update._climb(made, dict.fromkeys(made.sites, 2), 0, 1.0)
    for alpha in made.alphas:
        torch.testing.assert_close(alpha.grad, torch.tensor([0.25, 0.25, -0.75, 0.25]))
    assert update.logits[0] > update.logits[1] == update.logits[2]
