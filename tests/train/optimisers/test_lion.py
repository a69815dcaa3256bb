"""Lion against a reference in numpy."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from dashfx.config.search import FitConfig
from dashfx.train.optimisers import Lion
from dashfx.train.recipe import make_optimiser

LR, BETA1, BETA2, DECAY = 0.02, 0.8, 0.95, 0.3


def gradients(steps: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(steps, 3, 4))


def test_five_steps_equal_the_reference() -> None:
    p = nn.Parameter(torch.ones(3, 4, dtype=torch.float64))
    config = FitConfig(lr=LR, momentum=BETA1, weight_decay=DECAY, optimizer=f"lion:beta2={BETA2}")
    optimiser = make_optimiser([p], config)
    expected, m = np.ones((3, 4)), np.zeros((3, 4))
    for g in gradients(5):
        p.grad = torch.from_numpy(g)
        optimiser.step()
        expected = expected * (1 - LR * DECAY) - LR * np.sign(BETA1 * m + (1 - BETA1) * g)
        m = BETA2 * m + (1 - BETA2) * g
        np.testing.assert_allclose(p.detach().numpy(), expected, rtol=1e-12)
    assert {name for name in optimiser.state[p]} == {"exp_avg"}  # one buffer a weight


def test_the_decay_is_apart_from_the_gradients() -> None:
    """A weight that is far out shrinks by the decay alone, whatever the gradient's size."""
    small, large = (nn.Parameter(torch.full((2, 2), 10.0, dtype=torch.float64)) for _ in range(2))
    for p, scale in ((small, 1e-6), (large, 1e6)):
        p.grad = torch.full_like(p, scale)
        Lion([p], LR, decay=DECAY).step()
    assert torch.equal(small, large) and float(small.detach()[0, 0]) == 10 * (1 - LR * DECAY) - LR


def test_what_has_no_gradient_stays() -> None:
    p = nn.Parameter(torch.ones(2))
    optimiser = Lion([p], LR, decay=DECAY)
    optimiser.step()
    assert torch.equal(p, torch.ones(2)) and not optimiser.state
