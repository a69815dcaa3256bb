"""A small temperature: which of two temperatures a step has, and how often."""

from __future__ import annotations

import types

import pytest
import torch

from dashfx.ops.relaxations import Progress, SparseNoisy

LOGITS = torch.tensor([0.03, -0.1, 0.2, 0.0], dtype=torch.float64)
ALIVE = torch.tensor([True, True, True, False])


def expected(tau: float) -> torch.Tensor:
    return torch.cat([(LOGITS[:3] / tau).softmax(-1), torch.zeros(1, dtype=torch.float64)])


@pytest.mark.parametrize(("share", "sharp"), [(0.2, 0.0), (0.6, 0.5), (1.0, 1.0)])
def test_the_share_of_sharp_steps_rises_after_the_warm_up(share: float, sharp: float) -> None:
    relaxation, generator = SparseNoisy(0.05, ratio=10), torch.Generator().manual_seed(1)
    relaxation.begin(Progress(2, 0.2, True))
    relaxation.begin(Progress(6, share, True))
    seen = [relaxation(LOGITS, ALIVE, generator) for _ in range(2000)]
    first = torch.stack([torch.isclose(each, expected(0.05)).all() for each in seen])
    second = torch.stack([torch.isclose(each, expected(0.5)).all() for each in seen])
    assert (first ^ second).all() and float(first.double().mean()) == pytest.approx(sharp, abs=0.03)


def test_evaluation_is_sharp_and_the_warm_up_is_soft() -> None:
    relaxation = SparseNoisy(0.05)
    relaxation.begin(Progress(0, 0.0, False))
    torch.testing.assert_close(relaxation(LOGITS, ALIVE, None), expected(0.05))
    torch.testing.assert_close(relaxation(LOGITS, ALIVE, torch.Generator()), expected(1.0))


def test_a_temperature_that_is_not_given_follows_the_logits() -> None:
    relaxation = SparseNoisy()
    torch.testing.assert_close(relaxation(LOGITS, ALIVE, None), expected(0.01))
    alphas = [torch.tensor([0.0, 4.0]), torch.tensor([-4.0])]
    relaxation.after_step(types.SimpleNamespace(alphas=alphas))
    again = SparseNoisy()
    again.load_state_dict(relaxation.state_dict())
    torch.testing.assert_close(again(LOGITS, ALIVE, None), expected(0.05 * 4.0))
