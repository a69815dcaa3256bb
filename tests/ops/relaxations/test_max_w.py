"""Max-W: its equation, and that the strongest candidate has 1 and no gradient, whatever it wraps."""

from __future__ import annotations

import pytest
import torch

from dashfx.ops.relaxations import MaxW, Progress, Relaxation, Softmax
from dashfx.plugins import find

LOGITS = torch.tensor([[0.3, -1.0, 2.0, 0.0], [1.0, 0.0, 0.5, 3.0]], dtype=torch.float64)
ALIVE = torch.tensor([[True, True, True, True], [True, True, True, False]])


@pytest.mark.parametrize("inner", ["softmax", "soft-gumbel:tau=0.5", "gdas"])
def test_the_strongest_has_one_and_no_gradient(inner: str) -> None:
    relaxation: Relaxation = find("relaxation", f"max-w:inner={inner}")
    logits = LOGITS.clone().requires_grad_()
    coef = relaxation(logits, ALIVE, torch.Generator().manual_seed(0))
    p = relaxation.inner(LOGITS, ALIVE, torch.Generator().manual_seed(0))  # type: ignore[attr-defined]
    torch.testing.assert_close(coef, (1 - p.max(-1, keepdim=True).values + p) * ALIVE)
    best = coef.max(-1)
    assert torch.equal(best.values, torch.ones(2, dtype=torch.float64)) and not relaxation.simplex
    best.values.sum().backward()
    torch.testing.assert_close(logits.grad, torch.zeros_like(LOGITS))


def test_what_it_wraps_hears_and_remembers() -> None:
    relaxation, again = (MaxW(Softmax(2.0, 0.5)) for _ in range(2))
    relaxation.begin(Progress(1, 0.5, True))
    again.load_state_dict(relaxation.state_dict())
    assert again.inner.temperature == pytest.approx(1.0)  # type: ignore[attr-defined]
