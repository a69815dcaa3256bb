"""Optimisers on landscapes whose best is known: they do better than chance, by more than chance explains.

The seeds are fixed, so each figure repeats. Margins were looked at once: none stands near its edge.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from landscapes import Landscape, additive, deceptive, nk
from scipy.stats import ttest_rel

from dashfx.blackbox.base import Optimiser, best_of, optimise
from dashfx.blackbox.optimisers.local import LocalSearch
from dashfx.blackbox.optimisers.random import RandomSearch


@cache
def rugged(seed: int) -> Landscape:
    return nk(seed=seed)


def best(optimiser: Optimiser, landscape: Landscape, seed: int, evaluations: int) -> float:
    asking = optimiser.begin(landscape.space, torch.Generator().manual_seed(seed))
    value = best_of(optimise(asking, landscape, evaluations, maximise=True)).value
    assert value is not None
    return value


def regrets(optimiser: Optimiser, seeds: int = 30, evaluations: int = 40) -> np.ndarray:
    """(seeds,): on a rugged landscape each."""
    return np.array([rugged(seed).regret(best(optimiser, rugged(seed), seed, evaluations)) for seed in range(seeds)])


@cache
def by_chance(seeds: int = 30) -> np.ndarray:
    return regrets(RandomSearch(), seeds)


def is_better_than_chance(optimiser: Optimiser, seeds: int = 30) -> bool:
    """Of 40 evaluations, paired over the landscapes, one-sided p below .01."""
    return bool(ttest_rel(regrets(optimiser, seeds), by_chance(seeds), alternative="less").pvalue < 0.01)


def test_landscapes_have_the_best_that_enumeration_finds() -> None:
    for landscape in (additive(), nk(), deceptive()):
        assert landscape([landscape.optimum]) == [landscape.best] == [landscape.table.max()]
        assert landscape.regret(landscape.best) == 0 and landscape.regret(float(landscape.table.min())) == 1
    assert additive().table.shape == (4,) * 6 and nk().table.shape == (4,) * 8 and deceptive().table.shape == (4,) * 4


def test_an_additive_landscape_is_the_sum_of_its_positions() -> None:
    table, best = additive(seed=3).table, additive(seed=3).optimum
    alone = [table[tuple(0 if i == p else b for i, b in enumerate(best))] for p in range(6)]
    assert table.max() - sum(table.max() - each for each in alone) == pytest.approx(table[(0,) * 6], rel=1e-12)


def test_a_rugged_landscape_depends_on_k_neighbours() -> None:
    table = nk(positions=5, options=3, k=1, seed=1).table
    change = table[1] - table[0]  # of position 0: what changes with it are the parts of positions 4 and 0
    assert np.allclose(change, change[:, :1, :1], rtol=0, atol=1e-12) and not np.allclose(change, change[:1])


def test_every_climb_on_a_deceptive_landscape_leads_away_from_the_best() -> None:
    landscape = deceptive()
    assert landscape.optimum == (3, 3, 3, 3)
    assert landscape([(3, 3, 3, 0)]) < landscape([(3, 3, 0, 0)]) < landscape([(0, 0, 0, 0)]) < [landscape.best]


def test_a_climb_gains_on_chance_and_chance_does_not_gain_on_itself() -> None:
    assert is_better_than_chance(LocalSearch())
    assert not is_better_than_chance(RandomSearch())
