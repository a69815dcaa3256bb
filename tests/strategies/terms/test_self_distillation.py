"""Self-distillation: teachers of earlier epochs, nothing where the supernet teaches itself."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from engines import BATCH, engine

from dashfx.errors import ConfigError
from dashfx.strategies.terms import Moment, SelfDistillation


def moment(made: object) -> Moment:
    coef = made.coefficients()  # type: ignore[attr-defined]
    return Moment(made, BATCH, made.answer(BATCH[0], coef), coef, "weights")  # type: ignore[arg-type, attr-defined]


def test_a_supernet_agrees_with_itself_and_not_with_what_it_was() -> None:
    made, term = engine(warmup=0), SelfDistillation(teachers=2)
    made.model.eval()
    term.begin(made)
    assert float(term(moment(made))) == 0 and not term.ring
    term.after_epoch(made)
    assert abs(float(term(moment(made)).detach())) < 1e-6
    with torch.no_grad():
        made.plain.fc.weight.mul_(3)
    apart = term(moment(made))
    assert float(apart.detach()) > 1e-3
    slopes = torch.autograd.grad(apart, [made.plain.fc.weight, *made.alphas], allow_unused=True)
    assert slopes[0] is not None and bool(slopes[0].any())


def test_the_vote_is_the_mean_of_softened_answers() -> None:
    rows = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0))
    term = SelfDistillation(temperature=2.0)
    mean = (rows / 2).softmax(2).mean(0)
    torch.testing.assert_close((term.mean(list(rows), "softmax") / 2).softmax(1), mean)
    torch.testing.assert_close((term.mean(list(rows), "sigmoid") / 2).sigmoid(), (rows / 2).sigmoid().mean(0))
    torch.testing.assert_close(term.mean(list(rows), "mean"), rows.mean(0))


def test_so_many_teachers_are_kept_and_leave_with_their_candidates() -> None:
    made, term = engine(), SelfDistillation(teachers=2)
    for _ in range(3):
        term.after_epoch(made)
    assert len(term.ring) == 2
    before = term.ring[0]["state"]["fc.weight"].clone()
    made.plain.fc.weight.data.add_(1)
    assert torch.equal(term.ring[0]["state"]["fc.weight"], before)
    made.keep("conv1", [0, 1])
    term.begin(made)
    assert term.ring == []


def test_a_task_without_answers_is_refused() -> None:
    made = engine()
    made.task = replace(made.task, average=None)
    with pytest.raises(ConfigError, match="does not say what these are"):
        SelfDistillation().begin(made)
