"""Grouped dropout: how often a candidate leaves, that no group is empty, and what a step does to those left out."""

from __future__ import annotations

import types
from typing import Any

import pytest
import torch
from engines import BATCH, engine

from dashfx.ops.relaxations import GroupedDrop

ALIVE = torch.tensor([True, True, True, True, True, False])  # groups of two, two and one
DRAWS = 20000


@pytest.mark.parametrize("rate", [3e-5, 0.3])
def test_candidates_leave_as_often_as_their_group_is_large(rate: float) -> None:
    relaxation = GroupedDrop(3, rate)
    left = relaxation.left(ALIVE.expand(DRAWS, 6), torch.Generator().manual_seed(0))
    groups = left.view(DRAWS, 3, 2)
    assert groups.any(-1).all() and not left[:, 5].any() and left[:, 4].all()
    expected = rate**0.5 - rate / 2  # where both would leave, one of them stays
    torch.testing.assert_close(1 - left[:, :4].double().mean(0), torch.full((4,), expected).double(), atol=0.02, rtol=0)


def test_what_leaves_has_no_part_and_evaluation_has_all() -> None:
    relaxation, logits = GroupedDrop(1, 0.9), torch.randn(6)
    coef = relaxation(logits, ALIVE, torch.Generator().manual_seed(0))
    left = relaxation.drawn[0]
    torch.testing.assert_close(coef, logits.masked_fill(~left, -torch.inf).softmax(-1))
    torch.testing.assert_close(relaxation(logits, ALIVE, None), logits.masked_fill(~ALIVE, -torch.inf).softmax(-1))


def test_a_step_leaves_the_probability_of_what_was_left_out() -> None:
    relaxation, before = GroupedDrop(2, 0.3), torch.randn(2, 6, dtype=torch.float64)
    alive = torch.ones(2, 6, dtype=torch.bool)
    relaxation(before, alive, torch.Generator().manual_seed(1))
    out = ~relaxation.drawn[0]
    alphas = [torch.nn.Parameter(row + torch.randn(6, dtype=torch.float64)) for row in before]  # momentum moves all
    moved = torch.stack([alpha.detach().clone() for alpha in alphas])
    relaxation.after_step(types.SimpleNamespace(alphas=alphas))
    after = torch.stack([alpha.detach() for alpha in alphas])
    torch.testing.assert_close(after.softmax(-1)[out], before.softmax(-1)[out], rtol=1e-6, atol=0)
    shift = (after - moved)[~out.all(-1)].masked_fill(out, 0.0)
    assert out.any() and torch.equal(after[out], before[out])
    for row, stays in zip(shift, ~out, strict=True):
        torch.testing.assert_close(row[stays], row[stays].mean().expand(int(stays.sum())))


def test_groups_are_by_taps_and_follow_candidates_that_leave() -> None:
    made = engine(relaxation="grouped-drop:groups=2", warmup=0)  # k3 d1, k3 d2, k5 d1, k5 d2

    def groups() -> Any:
        return made.relaxation.table.tolist()

    assert groups() == [[0, 0, 1, 1]] * 2
    made.step(BATCH)
    made.keep("conv1", [1, 2])
    assert groups() == [[0, 1, 0, 0], [0, 0, 1, 1]]
    made.step(BATCH)
