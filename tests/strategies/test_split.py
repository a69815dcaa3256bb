"""Splits by gradients: planted families are told apart, gradients are autograd's, and children are their parent's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from engines import BATCH, engine, same, state

from dashfx.strategies.engine.split import halved, similarities, splits


@pytest.mark.parametrize("n", [4, 7, 14])
def test_planted_families_are_separated(n: int) -> None:
    for seed in range(5):
        draw = np.random.default_rng(seed)
        first = tuple(sorted(draw.permutation(n)[: n // 2].tolist()))
        signs = np.array([1.0 if i in first else -1.0 for i in range(n)])
        rows = signs[:, None] + 0.3 * draw.normal(size=(n, 20))
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        halves, apart = halved(rows @ rows.T)
        assert first in halves and apart > 1 and sorted(halves[0] + halves[1]) == list(range(n))


def test_cosines_are_of_the_gradients_of_what_is_shared() -> None:
    made = engine(warmup=0)
    before = state(made)
    found = similarities(made, BATCH, "conv1", [0, 3])
    made.model.eval()
    rows = []
    for place in (0, 3):
        made.zero_grad()
        coef = {"conv1": place, "conv2": made.sites["conv2"].coefficients().detach()}
        made.task.loss(made.answer(BATCH[0], coef), BATCH[1]).backward()
        shared = [*made.sites["conv2"].weights, made.sites["conv2"].bias, made.plain.fc.weight, made.plain.norm.weight]
        shared += [made.plain.fc.bias, made.plain.norm.bias]
        rows.append(torch.cat([w.grad.flatten() for w in shared]))
    expected = torch.nn.functional.cosine_similarity(*rows, dim=0)
    assert found[0, 1] == pytest.approx(float(expected), abs=1e-5) and found.diagonal() == pytest.approx([1, 1])
    assert same(before, state(made))


def test_children_begin_as_their_parent_under_their_mask() -> None:
    made = engine(warmup=0)
    for _ in range(3):
        made.step(BATCH)
    best, *_ = splits(made, BATCH)
    assert len(best.halves[0]) == len(best.halves[1]) == 2
    made.model.eval()
    for half in best.halves:
        child = made.fork({best.site: half})
        assert child.sites[best.site].candidates == tuple(made.sites[best.site].candidates[i] for i in half)
        given = {name: 0 for name in made.sites}
        mine = child.answer(BATCH[0], given)
        theirs = made.answer(BATCH[0], {**given, best.site: half[0]})
        torch.testing.assert_close(mine, theirs)
