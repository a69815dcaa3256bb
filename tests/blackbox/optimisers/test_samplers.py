"""Samplers of Optuna: what they are told, what they need, and what is said where something is missing."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import optuna
import pytest
import torch
from landscapes import additive

from dashfx.blackbox.base import Row, optimise
from dashfx.blackbox.genomes import Positions
from dashfx.blackbox.objectives import Objective
from dashfx.blackbox.optimisers.samplers import NEEDS, SAMPLERS, ByOptuna, Nsga2, Sampling, Tpe
from dashfx.errors import ConfigError

SPACE = Positions((3, 1, 4))


def begun(optimiser: ByOptuna, seed: int = 0, start: Sequence[Row[Any]] = ()) -> Sampling[Any]:
    return optimiser.begin(SPACE, torch.Generator().manual_seed(seed), start)


def total(genomes: Sequence[Any]) -> list[float]:
    return [float(sum(genome)) for genome in genomes]


def test_every_sampler_has_its_class() -> None:
    assert all(issubclass(getattr(optuna.samplers, name), optuna.samplers.BaseSampler) for name in SAMPLERS.values())
    assert NEEDS.keys() <= SAMPLERS.keys()


def test_a_gaussian_process_repeats_itself() -> None:
    first, again = (optimise(begun(ByOptuna("gp")), total, 12, maximise=True) for _ in range(2))
    assert [row.genome for row in first] == [row.genome for row in again]  # 10 at random, then by the model


def test_a_study_hears_what_is_better() -> None:
    search = begun(Tpe())
    optimise(search, lambda genomes: [(-value, value) for value in total(genomes)], 9, maximise=False, others=(COST,))
    study = search._study
    assert [each.name for each in study.directions] == ["MAXIMIZE"] * 2
    assert all(trial.values == [sum(trial.params.values()), -sum(trial.params.values())] for trial in study.trials)


COST = Objective("cost")


def test_rows_of_an_earlier_search_are_trials() -> None:
    rows = optimise(begun(Tpe()), total, 6, maximise=True)
    search = begun(Tpe(), start=rows)
    assert [tuple(trial.params.values()) for trial in search._study.trials] == [row.genome for row in rows]
    assert [trial.value for trial in search._study.trials] == [row.fitness for row in rows]
    search.expect(2)
    assert not search._study.trials  # of one objective, they say nothing of two


def test_what_has_no_value_is_a_failed_trial() -> None:
    search = begun(Nsga2(population=2))
    optimise(search, lambda genomes: [float("nan")] * len(genomes), 4, maximise=True)
    assert {trial.state.name for trial in search._study.trials} == {"FAIL"}


def test_generations_descend_from_what_is_better() -> None:
    landscape = additive(6, 4)
    search = Nsga2(population=10).begin(landscape.space, torch.Generator().manual_seed(0))
    values = [row.fitness for row in optimise(search, landscape, 200, maximise=True)]
    assert sum(values[-50:]) / 50 > sum(values[:10]) / 10 + 1


def test_numbers_are_given_to_samplers_that_know_no_categories() -> None:
    kinds = {name: {type(axis).__name__ for axis in begun(ByOptuna(name))._axes.values()} for name in ("qmc", "tpe")}
    assert kinds == {"qmc": {"IntDistribution"}, "tpe": {"CategoricalDistribution"}}


@pytest.mark.parametrize("name", NEEDS)
def test_a_missing_package_is_one_line(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(package: str) -> None:
        raise ImportError(package)

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(ConfigError, match=f"sampler '{name}' needs the package {NEEDS[name]}: pip install"):
        ByOptuna(name)


def test_mistakes_are_one_line() -> None:
    with pytest.raises(ConfigError, match=r"no sampler 'nsga' of Optuna .did you mean .*; there are tpe, nsga2"):
        ByOptuna("nsga")
    with pytest.raises(ConfigError, match="nsga2 with population=1"):
        Nsga2(population=1)


def test_cma_es_knows_one_objective(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib, "import_module", lambda name: None)
    ByOptuna("cma-es").check(10, objectives=1)
    with pytest.raises(ConfigError, match="'cma-es' knows one objective, not 2"):
        ByOptuna("cma-es").check(10, objectives=2)
