"""Flatness of quadratics of known curvature, and of networks and supernets by name."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from engines import DATA, TASK, engine, moved, weights
from torch import Tensor
from toys import ToyNet

from dashfx.blackbox.genomes import GenotypeSpace
from dashfx.config.run import RunConfig
from dashfx.errors import ProxyError
from dashfx.proxy import load_proxy
from dashfx.proxy.peers.flatness import SIGMAS, flatness
from dashfx.stages.evaluators import BySupernet


def quadratic(curve: float, seed: int) -> tuple[float, list[Tensor]]:
    weights = [torch.zeros(5, 4), torch.zeros(7)]
    found = flatness(lambda: curve / 2 * float(sum(w.square().sum() for w in weights)), weights, seed)
    return found, weights


def test_the_flatter_of_two_bowls_is_found_always() -> None:
    for seed in range(20):
        (flat, weights), (steep, _) = quadratic(1.0, seed), quadratic(10.0, seed)
        assert flat == pytest.approx(10 * steep)
        assert all(not w.any() for w in weights)


def test_it_is_the_inverse_of_the_slopes_between_noises() -> None:
    w, losses = torch.zeros(3, dtype=torch.float64), [2.0, 5.0, 4.0]
    told, seen = iter(losses), []

    def loss() -> float:
        seen.append(w.clone())
        return next(told)

    found = flatness(loss, [w], 3, (0.1, 0.2, 0.4))
    assert found == pytest.approx(1 / (2.0 / 0.1 + 3.0 / 0.1 + 1.0 / 0.2))
    generator = torch.Generator().manual_seed(3)
    expected = torch.zeros(3, dtype=torch.float64)
    for step, here in zip((0.1, 0.1, 0.2), seen, strict=True):
        expected = expected + step * torch.randn(3, generator=generator, dtype=torch.float64)
        torch.testing.assert_close(here, expected)


def test_weights_come_back_when_the_loss_fails() -> None:
    w = torch.ones(3)
    with pytest.raises(ZeroDivisionError):
        flatness(lambda: 1 / 0, [w], 0)
    assert torch.equal(w, torch.ones(3))


@pytest.mark.parametrize("sigmas", [(), (0.0, 0.1), (0.2, 0.1)])
def test_noises_that_do_not_rise_are_refused(sigmas: tuple[float, ...]) -> None:
    with pytest.raises(ProxyError, match="numbers above 0 that rise"):
        flatness(lambda: 1.0, [torch.ones(1)], 0, sigmas)


def test_a_network_is_measured_around_the_weights_that_it_has() -> None:
    batch = DATA.train.__getitems__(range(16))
    torch.manual_seed(0)
    net = ToyNet()
    scores = [load_proxy(name).score(net, batch) for name in ("flatness", "flatness:sigmas=[0.01, 0.02]")]
    assert len(SIGMAS) == 9 and all(score > 0 for score in scores) and scores[0] != scores[1]


def test_a_supernets_genotypes_are_judged_by_the_flatness_of_the_validation_loss() -> None:
    made = engine("grow")
    context: Any = SimpleNamespace(data=DATA, task=TASK, config=RunConfig())
    evaluator = BySupernet(metric="flatness")
    evaluating, space = evaluator.begin(context, made), GenotypeSpace.of(made.sites)
    before = [w.clone() for w in weights(made)]
    genotypes = [space.sample(torch.Generator().manual_seed(seed)) for seed in range(4)]
    values = evaluating.values(genotypes)
    assert evaluating.maximise and evaluator.name == "flatness of supernet"
    assert min(values) > 0 and len(set(values)) > 1 and values == evaluating.values(genotypes)
    assert not any(moved(before, weights(made)))
