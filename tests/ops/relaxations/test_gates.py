"""Gates and single draws: sigmoids each for itself, and candidates as often as their probability says."""

from __future__ import annotations

import torch

from dashfx.ops.relaxations import Categorical, Gates

LOGITS = torch.tensor([[0.3, -1.0, 2.0, 0.5], [1.0, 0.0, 0.0, -2.0]], dtype=torch.float64)
MASK = torch.tensor([[True, True, True, True], [True, False, True, True]])


def test_a_gate_is_the_sigmoid_of_its_own_logit() -> None:
    found = Gates(tau=0.5)(LOGITS, MASK)
    torch.testing.assert_close(found[MASK], (1 / (1 + (-LOGITS / 0.5).exp()))[MASK])
    moved = LOGITS.clone()
    moved[0, 2] += 5
    assert torch.equal(Gates(tau=0.5)(moved, MASK)[0, [0, 1, 3]], found[0, [0, 1, 3]])


def test_draws_are_one_hot_and_as_frequent_as_the_probabilities() -> None:
    draw, relaxation = torch.Generator().manual_seed(0), Categorical()
    n = 20_000
    found = relaxation(LOGITS.repeat(n, 1, 1), MASK.repeat(n, 1, 1), draw)
    assert set(found.unique().tolist()) == {0.0, 1.0} and torch.equal(found.sum(-1), torch.ones(n, 2).double())
    expected = LOGITS.masked_fill(~MASK, -torch.inf).softmax(-1)
    assert (found.mean(0) - expected).abs().max() < 0.02
    torch.testing.assert_close(relaxation(LOGITS, MASK, None), expected)
