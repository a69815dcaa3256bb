"""Tree searches: visits follow the bound, a tree of halves finds the better part, and both gain on chance."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from landscapes import Landscape, additive, nk
from scipy.stats import ttest_rel

from dashfx.blackbox.base import Optimiser, best_of, optimise
from dashfx.blackbox.genomes import Positions
from dashfx.blackbox.optimisers.random import RandomSearch
from dashfx.blackbox.trees.bounds import Scale, largest, ucb1
from dashfx.blackbox.trees.latent_actions import LatentActions, divided, gone_down, linear
from dashfx.blackbox.trees.mcts import State, TreeSearch, Walking
from dashfx.errors import ConfigError


def regrets(optimiser: Optimiser, worlds: list[Landscape], evaluations: int) -> list[float]:
    found = []
    for seed, world in enumerate(worlds):
        asking = optimiser.begin(world.space, torch.Generator().manual_seed(seed))
        value = best_of(optimise(asking, world, evaluations, maximise=True)).value
        assert value is not None
        found.append(world.regret(value))
    return found


def test_a_tree_search_gains_on_chance_where_positions_depend_on_each_other() -> None:
    worlds = [nk(seed=seed) for seed in range(30)]
    gain = ttest_rel(regrets(TreeSearch(), worlds, 40), regrets(RandomSearch(), worlds, 40), alternative="less")
    assert gain.pvalue < 0.01  # it was .00002


def test_linear_halves_gain_on_chance_where_the_truth_is_linear() -> None:
    """Where positions depend on each other linear models of 40 rows are no help: on NK it does as chance does."""
    worlds = [additive(seed=seed) for seed in range(10)]
    gain = ttest_rel(regrets(LatentActions(), worlds, 40), regrets(RandomSearch(), worlds, 40), alternative="less")
    assert gain.pvalue < 0.01


def test_visits_are_those_of_the_bound() -> None:
    """Two arms of known worth: the counts are those of UCB1 written down once more."""
    search = TreeSearch(c=0.5)
    walking = Walking(search, Positions((2, 50)), torch.Generator().manual_seed(0), ())
    optimise(walking, lambda genomes: [float(genome[0]) for genome in genomes], 40, maximise=True)
    counts = [walking.tree[State((arm,), 0, 50)].visits for arm in (0, 1)]
    expected, means = [1, 1], [0.0, 1.0]
    while sum(expected) < 40:
        bounds = [m + 0.5 * math.sqrt(2 * math.log(sum(expected)) / n) for m, n in zip(means, expected, strict=True)]
        expected[bounds.index(max(bounds))] += 1
    assert counts == expected and walking.tree[State((), 0, 2)].visits == 40


@pytest.mark.parametrize("bisect", [True, False])
@pytest.mark.parametrize("size", [1, 2, 3, 5, 8])
def test_every_genome_is_one_leaf(bisect: bool, size: int) -> None:
    walking = Walking(TreeSearch(bisect=bisect), Positions((size, 2)), torch.Generator(), ())
    leaves, open_ = [], [State((), 0, size)]
    while open_:
        state = open_.pop()
        below = walking.children(state)
        assert len(below) <= 2 or not bisect
        open_ += below
        leaves += [] if below else [state.decided]
    assert sorted(leaves) == [(a, b) for a in range(size) for b in range(2)]


def test_bounds_and_scales_are_their_closed_forms() -> None:
    assert ucb1(0.5, 0, 9, 1.0) == math.inf and ucb1(0.5, 4, 9, 0.0) == 0.5
    assert ucb1(0.5, 4, 9, 2.0) == pytest.approx(0.5 + 2 * math.sqrt(2 * math.log(9) / 4))
    scale = Scale()
    assert scale.see(-math.inf) == 0.0 and scale.share(0.0) == 0.5
    assert [scale.see(each) for each in (3.0, 1.0, -math.inf)] == [3.0, 1.0, 1.0] and scale.share(2.5) == 0.75
    assert [largest([1.0, 3.0, 3.0], draw) for draw in (0.0, 0.49, 0.51, 1.0)] == [1, 1, 2, 2]


def test_a_linear_model_is_ridge_regression() -> None:
    draw = np.random.default_rng(0)
    x, y = draw.normal(size=(30, 4)), draw.normal(size=30)
    weights, offset = linear(x, y)
    whole = np.column_stack([x, np.ones(30)])
    expected = np.linalg.solve(whole.T @ whole + np.diag([1.0] * 4 + [0.0]), whole.T @ y)
    assert np.allclose([*weights, offset], expected)


def test_the_better_halves_hold_the_best_tenth_of_a_linear_truth() -> None:
    found = 0
    for seed in range(4):
        world = additive(4, 4, seed=seed)
        search = LatentActions()
        asking = search.begin(world.space, torch.Generator().manual_seed(seed))
        rows = optimise(asking, world, 60, maximise=True)
        x = np.array([world.space.one_hot(row.genome) for row in rows])
        node = divided(x, np.array([row.fitness for row in rows]), search)
        genomes = list(np.ndindex(*world.table.shape))
        codes, values = np.array([world.space.one_hot(genome) for genome in genomes]), np.array(world(genomes))
        inside = np.ones(len(genomes), dtype=bool)
        while node.halves:
            inside &= codes @ node.weights > node.limit
            node = node.halves[0]
        found += values[inside].mean() >= np.quantile(values, 0.9)
    assert found == 4  # of ten others all did


def test_the_way_down_takes_the_half_of_the_larger_bound() -> None:
    x, settings = np.eye(8), LatentActions(depth=1, leaf=2)
    y = np.array([1.0, 1, 1, 1, 0, 0, 0, 0])
    root = divided(x, y, settings)
    assert sorted(root.halves[0].rows.tolist()) == [0, 1, 2, 3]
    assert [better for _, better in gone_down(root, y, 0.1)] == [True]
    assert [better for _, better in gone_down(root, 1 - y, 0.1)] == [False]
    assert not divided(x, np.ones(8), settings).halves and not divided(x[:3], y[:3], settings).halves


def test_a_start_as_long_as_the_search_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"lanas: the first 15 evaluations .*\(start=15\), and there are 15"):
        LatentActions().check(15)
