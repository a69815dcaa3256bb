"""Searches by predictors: planted optima and fronts are found, harmful options named, and wrong settings refused."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from landscapes import additive, nk
from scipy.stats import norm, ttest_rel

from dashfx.blackbox.base import Optimiser, Row, best_of, optimise
from dashfx.blackbox.front import Front, fittest_first
from dashfx.blackbox.genomes import Positions
from dashfx.blackbox.objectives import Objective, dominates
from dashfx.blackbox.optimisers.random import RandomSearch
from dashfx.blackbox.optimisers.samplers import Nsga2
from dashfx.blackbox.optimisers.started import Started
from dashfx.blackbox.predictors import Boosting, Ridge
from dashfx.blackbox.predictors.base import Fitted, Predicted
from dashfx.blackbox.surrogates.acquire import ACQUIRE
from dashfx.blackbox.surrogates.importance import effects, harmful
from dashfx.blackbox.surrogates.linas import Linas
from dashfx.blackbox.surrogates.surrogate import BySurrogate
from dashfx.errors import ConfigError

Genome = tuple[int, ...]
SEEDS = range(5)
LINAS = Linas(population=20, predicted=60, predictor="ridge")


def rows_of(optimiser: Optimiser, space: Positions, evaluate: Any, n: int, seed: int, **more: Any) -> list[Row[Genome]]:
    return optimise(optimiser.begin(space, torch.Generator().manual_seed(seed)), evaluate, n, maximise=True, **more)


def test_the_optimum_of_a_sum_is_found_in_forty_evaluations() -> None:
    found = 0
    for seed in range(20):
        landscape = additive(seed=seed)
        rows = rows_of(BySurrogate(start=20, top=5), landscape.space, landscape, 40, seed)
        found += best_of(rows).genome == landscape.optimum
    assert found >= 18  # of 4,096 genomes; it was 20


def test_a_ridge_gains_on_chance_where_positions_depend_on_each_other() -> None:
    def regrets(optimiser: Optimiser) -> list[float]:
        worlds = [nk(seed=seed) for seed in range(30)]
        best = [best_of(rows_of(optimiser, w.space, w, 40, seed)).value for seed, w in enumerate(worlds)]
        return [world.regret(value) for world, value in zip(worlds, best, strict=True) if value is not None]

    gain = ttest_rel(regrets(BySurrogate(start=15, pool=150)), regrets(RandomSearch()), alternative="less")
    assert gain.pvalue < 0.01  # it was .0004


def two(seed: int, like: float = 0.0) -> Any:
    """Two sums over 4^4 genomes; the second, a cost, is by `like` that of another device."""
    first, cost, other = (additive(4, 4, seed=3 * seed + i) for i in range(3))

    def values(genomes: Sequence[Genome]) -> list[tuple[float, float]]:
        costs = [(1 - like) * a + like * b for a, b in zip(cost(genomes), other(genomes), strict=True)]
        return list(zip(first(genomes), costs, strict=True))

    return values


COST = (Objective("cost"),)
WORST = (0.0, -4.0)  # no value is below 0, no cost above 4


@cache
def found_by(optimiser: Optimiser, seed: int) -> list[Row[Genome]]:
    return rows_of(optimiser, Positions((4,) * 4), two(seed), 60, seed, others=COST)


def volume(optimiser: Optimiser, seed: int) -> float:
    return Front.of(found_by(optimiser, seed)).hypervolume(WORST)


def test_linas_finds_more_of_a_front_than_chance_and_than_nsga2_without_predictors() -> None:
    gained = [volume(LINAS, seed) >= volume(RandomSearch(), seed) for seed in SEEDS]
    assert sum(gained) >= 4
    assert np.mean([volume(LINAS, s) for s in SEEDS]) > np.mean([volume(Nsga2(20), s) for s in SEEDS])


def test_the_front_is_what_was_evaluated_and_nothing_dominates() -> None:
    rows = rows_of(LINAS, Positions((4,) * 4), two(0), 60, 0, others=COST)
    free = {row.point for row in rows if not any(dominates(other.point, row.point) for other in rows)}
    assert {row.point for row in Front.of(rows).rows} == free
    assert all(row.others == {"cost": two(0)([row.genome])[0][1]} for row in rows)


def test_a_front_of_another_device_is_a_head_start() -> None:
    shares = []
    for seed in SEEDS:
        there = rows_of(LINAS, Positions((4,) * 4), two(seed, like=0.2), 60, seed + 100, others=COST)
        started = Started(LINAS, tuple(dict.fromkeys(row.genome for row in fittest_first(there)[:20])))
        rows = rows_of(started, Positions((4,) * 4), two(seed), 60, seed, others=COST)
        wanted = 0.99 * volume(LINAS, seed)
        shares.append(_until(rows, wanted) / _until(found_by(LINAS, seed), wanted))
    assert np.median(shares) <= 0.7


def _until(rows: Sequence[Row[Genome]], volume: float) -> int:
    """How many rows reach a volume."""
    return bisect_left(range(len(rows)), volume, key=lambda n: Front.of(rows[:n]).hypervolume(WORST))


def test_a_start_is_evaluated_in_its_order_and_then_gone_on_from() -> None:
    landscape = additive(3, 3)
    start = ((0, 0, 0), (2, 1, 0), (1, 1, 1))
    rows = rows_of(Started(BySurrogate(start=4, top=2, pool=30), start), landscape.space, landscape, 9, 0)
    assert tuple(row.genome for row in rows[:3]) == start
    assert len({row.genome for row in rows}) == 9  # what was begun with is not asked for again


class Known(Fitted):
    def predict(self, x: np.ndarray) -> Predicted:
        return Predicted(x[:, 0], x[:, 1])


def test_acquisitions_are_their_closed_forms() -> None:
    x, draw = np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 0.5], [-1.0, 0.0]]), torch.Generator().manual_seed(0)
    assert ACQUIRE["mean"](Known(), x, 0.5, draw).tolist() == [1, 0, 3, -1]
    assert ACQUIRE["ucb"](Known(), x, 0.5, draw).tolist() == [1, 2, 3.5, -1]
    improved = ACQUIRE["ei"](Known(), x, 0.5, draw)
    for (mean, spread), found in zip(x.tolist(), improved.tolist(), strict=True):
        grid = np.linspace(mean - 9 * spread, mean + 9 * spread, 20001)
        density = norm.pdf(grid, mean, spread) if spread else None
        gain = np.maximum(grid - 0.5, 0)
        expected = max(mean - 0.5, 0) if density is None else float(np.trapezoid(gain * density, grid))
        assert found == pytest.approx(expected, abs=1e-5)
    draws = np.array([ACQUIRE["thompson"](Known(), x, 0.5, draw) for _ in range(4000)])
    assert np.allclose(draws.mean(0), x[:, 0], atol=0.1) and np.allclose(draws.std(0), x[:, 1], atol=0.1)


def test_an_options_effect_on_a_sum_is_its_own_number() -> None:
    landscape = additive(3, 3, seed=1)
    genomes = [(a, b, c) for a in range(3) for b in range(3) for c in range(3)]
    found = effects(landscape.space, genomes, landscape(genomes), Ridge())
    alone = landscape.table.mean((1, 2)) - landscape.table.mean()
    assert np.allclose(found[0], alone, atol=1e-3) and all(abs(row.sum()) < 1e-9 for row in found)


def test_planted_harmful_options_are_the_first_to_go_and_the_rest_is_better() -> None:
    whole, gained = 0, 0
    for seed in range(20):
        draw = np.random.default_rng(seed)
        parts = draw.random((6, 4)) * 0.5
        planted = {(int(p), int(draw.integers(4))) for p in draw.permutation(6)[:3]}
        for place, option in planted:
            parts[place, option] = -1.5
        space = Positions((4,) * 6)
        genomes = [space.sample(torch.Generator().manual_seed(100 * seed + i)) for i in range(60)]
        value = {g: float(sum(parts[p, o] for p, o in enumerate(g))) for g in genomes}
        pruned = harmful(effects(space, list(value), list(value.values()), Boosting(trees=40), seed))[:5]
        whole += planted <= set(pruned)
        kept = parts.copy()
        kept[tuple(zip(*pruned, strict=True))] = np.nan
        gained += np.nanmean(kept, axis=1).sum() > parts.mean(1).sum()
    assert whole >= 18 and gained >= 19


def test_the_best_option_of_a_position_never_goes() -> None:
    found = [np.array([-0.2, -0.1, 0.3]), np.array([0.0]), np.array([0.5, -0.5])]
    assert harmful(found) == [(2, 1), (0, 0), (0, 1)]
    assert harmful([np.array([-0.1, -0.3])]) == [(0, 1)]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: BySurrogate("forest"), "no predictor 'forest'"),
        (lambda: BySurrogate("svr", "ei"), "acquire=ei needs spreads, which SupportVectors does not tell"),
        (
            lambda: BySurrogate(start=20).check(20),
            r"surrogate: the first 20 evaluations .*\(start=20\), and there are 20",
        ),
        (lambda: LINAS.check(15), r"linas: the first 20 evaluations .*\(population=20\), and there are 15"),
        (lambda: Linas(population=1), "linas with population=1: give 2 or more"),
    ],
)
def test_what_cannot_work_is_one_line(make: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as raised:
        make()
    assert "\n" not in str(raised.value)


def test_enough_evaluations_are_enough() -> None:
    BySurrogate(start=20).check(21)
    LINAS.check(21, objectives=2)


def test_all_that_a_small_space_has_may_be_used_up() -> None:
    space = Positions((2, 2))
    rows = rows_of(BySurrogate(start=3, top=2, pool=10), space, lambda g: [float(sum(each)) for each in g], 12, 0)
    assert best_of(rows).genome == (1, 1) and len({row.genome for row in rows}) == 4 and math.isfinite(rows[-1].fitness)
