"""ProxylessNAS: the gradient of two gates, and probabilities that nobody touched."""

from __future__ import annotations

from itertools import permutations

import torch
from engines import DATA, engine

from dashfx.strategies.updates.sampled.two_path import drawn_pairs, restore


def test_pairs_are_drawn_by_their_probabilities() -> None:
    """The first two of a draw without repeats, and which of them is run by what is left of p.

    The gradient of the paper is that of these two gates, not in the mean that of a softmax of all: only its sign of
    each pair's exchange is, so the mean over draws is held to what enumeration gives.
    """
    made = engine(relaxation="categorical", update="two-path", warmup=0)
    logits = torch.tensor([0.5, -0.3, 1.0, 0.0])
    made.sites["conv1"].alpha.data.copy_(logits)
    p, worth = logits.softmax(0).double(), torch.tensor([1.0, -2.0, 0.5, 3.0]).double()
    expected, active = torch.zeros(4).double(), torch.zeros(4).double()
    for i, k in permutations(range(4), 2):
        chance, q = p[i] * p[k] / (1 - p[i]), p[[i, k]] / p[[i, k]].sum()
        slope = q * (worth[[i, k]] - (q * worth[[i, k]]).sum())
        expected[[i, k]] += chance * slope
        active[[i, k]] += chance * q
    found, ran, n = torch.zeros(4).double(), torch.zeros(4).double(), 2000
    for _ in range(n):
        pair = drawn_pairs(made)["conv1"]
        q = p[pair] / p[pair].sum()
        found[pair] += q * (worth[pair] - (q * worth[pair]).sum()) / n
        ran[pair[0]] += 1 / n
    assert (found - expected).abs().max() < 0.05 and (ran - active).abs().max() < 0.05


def test_the_gradient_is_the_difference_of_the_two_losses_slopes() -> None:
    """dL/dg_j is what autograd says of a mixture at the one-hot corner; a step leaves all others as they were."""
    made = engine(relaxation="categorical", update="two-path", warmup=0, alpha_lr=0.1, cost_weight=0)
    held = made.training_data(DATA).train.__getitems__(range(16))
    for site in made.sites.values():
        site.alpha.data.copy_(torch.tensor([0.3, -0.2, 0.0, 0.4]))
    before = {name: site.alpha.detach().softmax(0) for name, site in made.sites.items()}
    state = made.generator.get_state()
    pairs = drawn_pairs(made)
    made.generator.set_state(state)
    made.update.step_alphas(made, held)  # type: ignore[attr-defined]
    for name, site in made.sites.items():
        after, pair = site.alpha.detach().softmax(0), pairs[name].tolist()
        others = [i for i in range(4) if i not in pair]
        torch.testing.assert_close(after[others], before[name][others], atol=1e-6, rtol=0)
        assert abs(float((after[pair] - before[name][pair])[0])) > 1e-4
        assert site.alpha.grad is not None and not site.alpha.grad[others].any()
        torch.testing.assert_close(site.alpha.grad[pair].sum(), torch.tensor(0.0), atol=1e-6, rtol=0)


def test_a_pair_keeps_its_share() -> None:
    old, new = torch.tensor([0.0, 1.0, 2.0]), torch.tensor([0.7, -3.0, 2.5])
    restore(new, old, torch.tensor([0, 2]))
    assert float(new[1]) == 1.0
    torch.testing.assert_close(new[[0, 2]].logsumexp(0), old[[0, 2]].logsumexp(0))
    torch.testing.assert_close(new[2] - new[0], torch.tensor(2.5 - 0.7))
