"""Projection onto budgets: it ends inside, moves little, and leaves alone what is inside."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from engines import BATCH, alphas, engine, moved
from toys import ToyNet

from dashfx.config.run import RunConfig
from dashfx.cost.counts import parameters_of
from dashfx.errors import ConfigError
from dashfx.strategies.engine import Engine
from dashfx.strategies.expected import limited_costs, noise_free
from dashfx.strategies.named import strategy_of
from dashfx.strategies.updates import Projected

OWN = parameters_of(ToyNet())  # the least of the space; the most is 48 more
TIGHT = f"params={OWN + 12}"


def at(seed: int, scale: float = 1.0, **options: Any) -> Engine:
    made = engine(warmup=0, cost_weight=0, **options)
    generator = torch.Generator().manual_seed(seed)
    for alpha in made.alphas:
        alpha.data.copy_(scale * torch.randn(4, generator=generator))
    return made


def expected(made: Engine) -> float:
    (cost,) = limited_costs(made)
    return float(cost(noise_free(made)))


@pytest.fixture(scope="module")
def tight() -> Engine:
    return at(0, budgets=[TIGHT])


def put(made: Engine, seed: int, scale: float = 1.0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    for alpha in made.alphas:
        alpha.data.copy_(scale * torch.randn(4, generator=generator))
    return alphas(made)


def test_from_anywhere_it_ends_within_the_limits(tight: Engine) -> None:
    outside = 0
    for seed in range(100):
        start = put(tight, seed, 1 + seed % 3)
        before = expected(tight)
        Projected(least=0.97).project(tight)
        after = expected(tight)
        assert 0.97 * 0.99 <= after <= 1.01
        if 0.971 < before < 0.999:
            assert not any(moved(start, alphas(tight)))  # bit for bit
        outside += before > 1.01
    assert outside > 20


def test_it_moves_less_than_going_back_to_an_even_mixture(tight: Engine) -> None:
    """Where the even mixture is allowed, it is one way to be inside, and a longer one."""
    loose, shorter, tried = at(0, budgets=[f"params={OWN + 25}"]), 0, 0
    for seed in range(30):
        start = put(loose, seed, 2.0)
        if expected(loose) > 1.01:
            Projected().project(loose)
            way = sum(float((a - b).norm() ** 2) for a, b in zip(start, alphas(loose), strict=True))
            even = sum(float((a - a.mean()).norm() ** 2) for a in start)
            tried, shorter = tried + 1, shorter + (way < even)
    assert tried > 5 and shorter == tried


def test_a_search_ends_inside_and_one_without_it_does_not() -> None:
    def searched(update: str) -> Engine:
        made = at(3, budgets=[TIGHT], update=update, alpha_lr=0.3)
        for alpha in made.alphas:
            alpha.data.copy_(torch.tensor([0.0, 0.0, 2.0, 2.0]))
        for _ in range(3):
            made.step(BATCH)
        return made

    assert expected(searched("projected")) <= 1.01 < expected(searched("one-level"))


def test_nothing_moves_during_the_warmup_or_without_a_budget() -> None:
    made = engine(budgets=[TIGHT], update="projected", warmup=0.5)
    before = alphas(made)
    made.step(BATCH)
    assert not any(moved(before, alphas(made)))
    free = engine()
    Projected().project(free)
    assert not any(moved(before, alphas(free)))


def test_it_asks_for_a_budget() -> None:
    config = RunConfig.parse({"search": {"strategy": "dash", "update": "projected"}})
    with pytest.raises(ConfigError, match=r"search.update=projected keeps to budgets, and there are none: give --max"):
        strategy_of(config).check(config)
    config = RunConfig.parse({"search": {"strategy": "dash", "update": "projected", "budgets": ["params=1M"]}})
    strategy_of(config).check(config)
