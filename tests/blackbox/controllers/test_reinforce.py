"""The REINFORCE controller: planted choices take the mass, a step is the gradient that the paper has."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from dashfx.blackbox.base import Row, optimise
from dashfx.blackbox.controllers.reinforce import Reinforce
from dashfx.blackbox.genomes import Positions

Genome = tuple[int, ...]
SPACE = Positions((4, 3))  # an operation and a rate


def test_a_planted_pair_of_operation_and_rate_takes_the_mass() -> None:
    masses = []
    for seed in range(5):
        noise = np.random.default_rng(seed)
        controller = Reinforce().begin(SPACE, torch.Generator().manual_seed(seed))

        def worth(genomes: Sequence[Genome], noise: np.random.Generator = noise) -> list[float]:
            return [0.3 * (g[0] == 2) + 0.3 * (g[1] == 1) + (g == (2, 1)) + 0.1 * noise.normal() for g in genomes]

        optimise(controller, worth, 200, maximise=True)
        shares = controller.logits.detach().softmax(-1)
        masses.append(float(shares[0, 2] * shares[1, 1]))
    assert min(masses) >= 0.9  # the least was .94


def row(genome: Genome, fitness: float) -> Row[Genome]:
    return Row(0, genome, fitness, fitness, None, 0.0)


def test_the_gradient_is_the_score_times_the_advantage() -> None:
    controller = Reinforce(memory=0.5).begin(SPACE, torch.Generator())
    controller.tell([row((0, 0), 1.0)])  # the baseline, of no advantage
    assert controller.baseline == 1.0 and controller.logits[0].tolist() == [0.0] * 4
    controller.tell([row((2, 1), 3.0)])
    assert controller.baseline == 2.0
    advantage = (3 - 1) / np.std([1.0, 3.0])
    held = torch.zeros(2, 4, dtype=torch.float64)
    held[0, 2] = held[1, 1] = 1
    shares = torch.tensor([[1 / 4] * 4, [1 / 3] * 3 + [0.0]], dtype=torch.float64)
    torch.testing.assert_close(controller._free.grad, -advantage * (held - shares))
    assert controller.logits[1, 3] == -math.inf


def test_entropy_holds_the_distribution_back() -> None:
    def mass(entropy: float) -> float:
        controller = Reinforce(entropy=entropy).begin(SPACE, torch.Generator().manual_seed(0))
        optimise(controller, lambda genomes: [float(g[0] == 2) for g in genomes], 60, maximise=True)
        return float(controller.logits.detach().softmax(-1)[0, 2])

    assert mass(5.0) < mass(0.0)


@pytest.mark.parametrize("first", [-math.inf, 2.0])
def test_what_has_no_value_counts_as_the_worst_so_far(first: float) -> None:
    controller = Reinforce().begin(SPACE, torch.Generator())
    for fitness in (first, 3.0, -math.inf):
        controller.tell([row((0, 0), fitness)])
    assert controller.logits[0].isfinite().all() and math.isfinite(controller.baseline or 0)
