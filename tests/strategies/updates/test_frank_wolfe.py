"""Frank-Wolfe under budgets: every point is allowed, a known optimum is reached, vertices choose, searches resume."""

from __future__ import annotations

import itertools
import random
from typing import Any

import numpy as np
import pytest
import torch
from engines import BATCH, DATA, Interrupt, engine, same, state
from toys import ToyNet

from dashfx.config.run import RunConfig
from dashfx.cost.counts import parameters_of
from dashfx.errors import ConfigError
from dashfx.strategies.engine import Engine
from dashfx.strategies.expected import Expected, limited_costs
from dashfx.strategies.named import strategy_of
from dashfx.strategies.updates.frank_wolfe import FrankWolfe
from dashfx.train.fit import fit

OWN = parameters_of(ToyNet())
PARTS: dict[str, Any] = {
    "epochs": 4,
    "relaxation": "simplex",
    "alpha_optimizer": "frank-wolfe",
    "warmup": 0,
    "cost_weight": 0,
}


def started(*budgets: str) -> Engine:
    found = engine(budgets=budgets, **PARTS)
    for alpha in found.alphas:
        alpha.data.fill_(0.25)
    found._renew()  # as `Gradient.train` begins, which sets them first
    return found


def expected(found: Engine) -> list[float]:
    rows = {name: site.coefficients().detach() for name, site in found.sites.items()}
    return [float(cost(rows)) for cost in limited_costs(found)]


def test_every_point_of_a_search_is_allowed() -> None:
    search = started(f"params={OWN + 12}", f"macs={OWN * 24}")
    assert max(expected(search)) <= 1 + 1e-6
    for _ in range(8):
        search.step(BATCH)
        assert max(expected(search)) <= 1 + 1e-6
        assert all(float(alpha.sum()) == pytest.approx(1) and (alpha >= 0).all() for alpha in search.alphas)
    search.keep("conv2", [0, 2])
    search.step(BATCH)
    assert max(expected(search)) <= 1 + 1e-6


def test_the_even_mixture_stays_where_it_is_allowed() -> None:
    assert all(torch.equal(alpha, torch.full((4,), 0.25)) for alpha in started("params=1M").alphas)
    tight = started(f"params={OWN + 12}")
    assert max(expected(tight)) == pytest.approx(1, abs=1e-3)  # no further than it must


def planted(seed: int, sites: int, options: int, budgets: int) -> FrankWolfe:
    """An optimiser of random tables, some point of which is allowed."""
    draw = np.random.default_rng(seed)
    alphas = [torch.nn.Parameter(torch.full((options,), 1 / options, dtype=torch.float64)) for _ in range(sites)]
    found = FrankWolfe(alphas)
    for _ in range(budgets):
        table = {str(i): torch.from_numpy(draw.uniform(0.1, 1.0, options)) for i in range(sites)}
        least, mean = (sum(float(f(row)) for row in table.values()) for f in (torch.min, torch.mean))
        found._costs.append(Expected(0.0, table, 1.0, 0.5 * (least + mean) if budgets == 1 else mean))
    return found


@pytest.mark.parametrize("budgets", [1, 2])
def test_a_vertex_has_as_many_open_sites_as_there_are_budgets(budgets: int) -> None:
    for seed in range(20):
        found = planted(seed, 12, 8, budgets)
        draw = np.random.default_rng(1000 + seed)
        corner = found.vertex([draw.normal(size=8) for _ in range(12)])
        assert sum(float(row.max()) < 1 - 1e-9 for row in corner) <= budgets
        assert all(value <= cost.most + 1e-6 for value, cost in zip(found._values(corner), found._costs, strict=True))


def test_a_vertex_is_the_best_of_all_mixtures_of_two_choices() -> None:
    """With one budget an optimum mixes two choices at most: enumerated."""
    found, draw = planted(3, 3, 3, 1), np.random.default_rng(5)
    slopes, cost = [draw.normal(size=3) for _ in range(3)], found._costs[0]
    tables = [row.numpy() for row in cost.table.values()]

    def total(rows: list[np.ndarray], picks: tuple[int, ...]) -> float:
        return float(sum(row[i] for row, i in zip(rows, picks, strict=True)))

    sums = [(total(tables, picks), total(slopes, picks)) for picks in itertools.product(range(3), repeat=3)]
    best = min(value for spent, value in sums if spent <= cost.most)
    for (a, x), (b, y) in itertools.combinations(sums, 2):
        if min(a, b) <= cost.most < max(a, b):
            share = (cost.most - a) / (b - a)
            best = min(best, x + share * (y - x))
    corner = found.vertex(slopes)
    assert sum(float(row @ each) for row, each in zip(slopes, corner, strict=True)) == pytest.approx(best)


def test_it_reaches_the_optimum_of_a_quadratic() -> None:
    """min |a - b|^2 over one simplex: b itself where it is allowed; the steps are those of exact Frank-Wolfe."""
    aim = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    alpha = torch.nn.Parameter(torch.full((3,), 1 / 3, dtype=torch.float64))
    optimiser, point = FrankWolfe([alpha]), np.full(3, 1 / 3)
    for k in range(100):
        alpha.grad = 2 * (alpha.detach() - aim)
        corner = np.eye(3)[int(np.argmin(2 * (point - aim.numpy())))]
        point = point + 2 / (k + 2) * (corner - point)
        optimiser.step()
        np.testing.assert_allclose(alpha.detach().numpy(), point, atol=1e-9)
    assert float((alpha.detach() - aim).norm()) < 0.1


def test_gradients_may_be_averaged() -> None:
    alpha = torch.nn.Parameter(torch.full((2,), 0.5))
    optimiser = FrankWolfe([alpha], averaged=0.9)
    for slope in ([0.0, 1.0], [1.0, 0.0]):  # the second alone would turn it round
        alpha.grad = torch.tensor(slope)
        optimiser.step()
    assert alpha[0] > alpha[1]


def test_a_killed_search_goes_on_bit_for_bit(tmp_path_factory: pytest.TempPathFactory) -> None:
    def run(folder: str, stopped: bool = False, resume: bool = False) -> Engine:
        random.seed(0)
        found = started(f"params={OWN + 12}")
        observer = {"observer": Interrupt(2)} if stopped else {}
        fit(found, DATA, stage="search", folder=tmp_path_factory.getbasetemp() / folder, resume=resume, **observer)
        return found

    for folder in ("straight", "killed"):
        (tmp_path_factory.getbasetemp() / folder).mkdir()
    straight = run("straight")
    with pytest.raises(KeyboardInterrupt):
        run("killed", stopped=True)
    assert same(state(straight), state(run("killed", resume=True)))


@pytest.mark.parametrize(
    ("search", "said"),
    [
        ({"alpha_optimizer": "frank-wolfe"}, "expgrad and frank-wolfe move coefficients"),
        ({"alpha_optimizer": "frank-wolfe", "relaxation": "simplex", "tie": "all"}, "leave search.tie"),
        ({"alpha_optimizer": "frank-wolfe", "relaxation": "simplex"}, "there are none: give --max"),
    ],
)
def test_what_does_not_fit_is_refused(search: dict[str, str], said: str) -> None:
    config = RunConfig.parse({"search": {"strategy": "dash", **search}})
    with pytest.raises(ConfigError, match=said):
        strategy_of(config).check(config)
