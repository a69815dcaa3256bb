"""CMA-ES by Optuna's sampler: what goes to it and what comes back; its arithmetic is the package's, or a stand-in's."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna.samplers._cmaes as sampler
import pytest
import torch

from dashfx.blackbox.base import History, Row, optimise
from dashfx.blackbox.genomes import Positions
from dashfx.blackbox.optimisers.samplers import ByOptuna

SPACE = Positions((5, 1, 9))  # of a position with one choice the package hears nothing
BEST = (4, 0, 2)


class CMA:
    """As the package's class as far as Optuna uses it: draws round a mean, which becomes the best of a generation.

    Not an evolution strategy with covariances, so nothing is claimed of how well CMA-ES searches.
    """

    def __init__(self, mean: np.ndarray, sigma: float, bounds: np.ndarray, seed: int, **more: Any) -> None:
        self._mean, self._sigma, self._bounds, self._rng = mean, sigma, bounds, np.random.RandomState(seed)
        self.dim, self.population_size, self.generation = len(mean), more.get("population_size") or 4, 0

    def ask(self) -> np.ndarray:
        return np.clip(self._mean + self._sigma * self._rng.randn(self.dim), *self._bounds.T)

    def tell(self, solutions: Sequence[tuple[np.ndarray, float]]) -> None:
        assert len(solutions) == self.population_size and self.dim == 2
        self._mean = min(solutions, key=lambda pair: pair[1])[0]
        self.generation += 1


class Package:
    CMA, CMAwM = CMA, type("CMAwM", (), {})


@pytest.fixture(params=["stand-in", "package"])
def cmaes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if request.param == "stand-in":
        monkeypatch.setitem(sys.modules, "cmaes", Package)  # type: ignore[arg-type]
        monkeypatch.setattr(sampler, "cmaes", Package)
    elif importlib.util.find_spec("cmaes") is None:
        pytest.skip("the package cmaes is not installed")
    yield


def near(genomes: Sequence[Any]) -> list[float]:
    return [-float(sum(abs(a - b) for a, b in zip(genome, BEST, strict=True))) for genome in genomes]


def searched(
    evaluations: int, maximise: bool = True, start: Sequence[Row[Any]] = (), history: History[Any] | None = None
) -> list[Row[Any]]:
    sign = 1 if maximise else -1
    search = ByOptuna("cma-es").begin(SPACE, torch.Generator().manual_seed(0), start)

    def value(genomes: Sequence[Any]) -> list[float]:
        return [sign * each for each in near(genomes)]

    return optimise(search, value, evaluations, maximise=maximise, history=history)


@pytest.mark.usefixtures("cmaes")
def test_whole_numbers_within_the_space_come_back_and_generations_move_to_what_is_better() -> None:
    rows = searched(48)
    assert all(0 <= place < size for row in rows for place, size in zip(row.genome, SPACE.sizes, strict=True))
    assert len({row.genome for row in rows}) > 5 and all(type(place) is int for row in rows for place in row.genome)
    assert np.mean([row.fitness for row in rows[-12:]]) > np.mean([row.fitness for row in rows[:12]]) + 1
    assert [row.genome for row in searched(48, maximise=False)] == [row.genome for row in rows]


@pytest.mark.usefixtures("cmaes")
def test_a_killed_search_goes_on_as_it_would_have(tmp_path: Path) -> None:
    rows, path = searched(20), tmp_path / "rows.jsonl"
    searched(11, history=History(path, SPACE))
    told = searched(20, history=History(path, SPACE))
    assert [(row.genome, row.value) for row in told] == [(row.genome, row.value) for row in rows]


@pytest.mark.usefixtures("cmaes")
def test_rows_of_an_earlier_search_count_as_trials() -> None:
    start = searched(20)
    first = searched(1, start=start)[0]  # drawn by the package, where nothing is known by Optuna at random
    assert first.genome != start[0].genome
