"""RoBoT: the weight of what is informative is found, the budget is counted, and its list is gone down in order."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from dashfx.blackbox.base import Row, best_of, optimise
from dashfx.blackbox.genomes import Positions
from dashfx.blackbox.optimisers.weighted import Floats, Weighing, Weighted, scaled

SPACE, POOL, BUDGET = Positions((4,) * 8), 100, 10
Genome = tuple[int, ...]


def total(genomes: Sequence[Genome]) -> list[float]:
    return [float(sum(genome)) for genome in genomes]


def beside_noise(genomes: Sequence[Genome]) -> Floats:
    """What is sought in the first column, and four of noise."""
    noise = np.random.default_rng(0).normal(size=(len(genomes), 4))
    return np.concatenate([np.array(total(genomes))[:, None], noise], axis=1)


def searched(seed: int, queries: int = BUDGET - 1, budget: int = BUDGET) -> tuple[Weighing[Genome], list[Row[Genome]]]:
    asking = Weighted(beside_noise, POOL, queries).begin(SPACE, torch.Generator().manual_seed(seed))
    assert isinstance(asking, Weighing)
    return asking, optimise(asking, total, budget, maximise=True)


def test_it_finds_better_genomes_than_draws_do_and_weighs_the_informative_score_up() -> None:
    """That its weight is the largest of all is too much to ask: by luck other sums prefer as good a genome."""
    behind, chance, up = 0, 0, 0
    for seed in range(10):
        asking, rows = searched(seed)
        values = np.array(total(asking._pool))
        behind += int((values > best_of(rows).fitness).sum())
        chance += int((values > values[:BUDGET].max()).sum())
        up += bool(asking.found[0] > 0)
    assert behind < chance / 1.5 and up >= 9


def test_every_evaluation_is_of_another_genome() -> None:
    _, rows = searched(0, queries=12, budget=30)
    assert len({row.genome for row in rows}) == 30


def test_after_its_queries_it_goes_down_the_list_of_the_best_weights() -> None:
    asking, rows = searched(3, queries=1, budget=6)
    (weights, first), columns = asking._asked[0], scaled(beside_noise(asking._pool))
    ranked = np.argsort(-(columns @ weights), kind="stable")
    assert [asking._pool.index(row.genome) for row in rows] == [first, *ranked[1:6]] and first == ranked[0]


def test_a_pool_that_is_used_up_is_proposed_again() -> None:
    asking = Weighted(lambda genomes: np.eye(2)[: len(genomes)], 100).begin(
        Positions((2,)), torch.Generator().manual_seed(0)
    )
    rows = optimise(asking, total, 5, maximise=True)
    assert {row.genome for row in rows} == {(0,), (1,)} and len(rows) == 5


def test_runs_that_diverged_count_as_the_worst() -> None:
    asking = Weighted(beside_noise, 20, 9).begin(SPACE, torch.Generator().manual_seed(0))
    rows = optimise(asking, lambda genomes: [math.nan] * len(genomes), 3, maximise=True)
    assert best_of(rows).value is None
    rows = optimise(
        Weighted(beside_noise, 20, 9).begin(SPACE, torch.Generator().manual_seed(0)),
        lambda genomes: [math.nan if sum(genome) < 13 else 1.0 for genome in genomes],
        10,
        maximise=True,
    )
    assert best_of(rows).value == 1.0


@pytest.mark.parametrize("together", [1, 3])
def test_the_same_seed_gives_the_same_rows(together: int) -> None:
    found = []
    for _ in range(2):
        asking = Weighted(beside_noise, POOL, 5).begin(SPACE, torch.Generator().manual_seed(1))
        found.append(optimise(asking, total, 8, maximise=True, together=together))
    assert [(r.genome, r.value) for r in found[0]] == [(r.genome, r.value) for r in found[1]]


def test_scores_are_scaled_by_column() -> None:
    scores = np.array([[1.0, -2.0, 3.0, np.nan], [10.0, 0.0, 3.0, -np.inf], [100.0, 2.0, 3.0, np.inf]])
    expected = [[0, 0, 0, 0], [0.5, 0.5, 0, 0], [1, 1, 0, 0]]  # logarithms of the first, which is positive
    np.testing.assert_allclose(scaled(scores), expected)
    np.testing.assert_allclose(scaled(np.array([[-np.inf], [1.0], [3.0]])), [[0], [0], [1]])
