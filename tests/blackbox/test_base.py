"""Black-box optimisers: they find optima, repeat by seed, keep every row, and go on where they were killed."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from dashfx.blackbox.base import History, Optimiser, Row, best_of, optimise
from dashfx.blackbox.genomes import Positions
from dashfx.blackbox.optimisers.evolution import Evolution
from dashfx.blackbox.optimisers.local import LocalSearch
from dashfx.blackbox.optimisers.random import RandomSearch
from dashfx.errors import ConfigError, RunFolderError

SPACE = Positions((6,) * 8)
Genome = tuple[int, ...]
OPTIMISERS: dict[str, Optimiser] = {
    "evolution": Evolution(population=20, tournament=5),
    "random": RandomSearch(),
    "local": LocalSearch(patience=20),
}


def total(genomes: Sequence[Genome]) -> list[float]:
    return [float(sum(genome)) for genome in genomes]  # at most 40


def rows_of(name: str, seed: int = 0, evaluate: Any = total, n: int = 200, **options: Any) -> list[Row[Genome]]:
    return optimise(
        OPTIMISERS[name].begin(SPACE, torch.Generator().manual_seed(seed)), evaluate, n, **{"maximise": True, **options}
    )


def best(name: str, **options: Any) -> float:
    """The mean best over a few seeds."""
    return sum(best_of(rows_of(name, seed, **options)).fitness for seed in range(4)) / 4


def test_evolution_and_local_search_climb_higher_than_chance() -> None:
    chance = best("random")
    assert best("evolution") > chance + 3 and best("local") > chance + 3


def test_lower_is_better_where_the_evaluator_says_so() -> None:
    rows = rows_of("evolution", maximise=False)
    assert best_of(rows).value == min(total([row.genome for row in rows])) <= 10
    assert best_of(rows).fitness == -best_of(rows).value


@pytest.mark.parametrize("name", OPTIMISERS)
def test_the_same_seed_gives_the_same_rows(name: str) -> None:
    def facts(seed: int) -> list[Any]:
        return [(row.genome, row.value, row.parent) for row in rows_of(name, seed, n=60)]

    assert facts(0) == facts(0) != facts(1)


@pytest.mark.parametrize("name", OPTIMISERS)
@pytest.mark.parametrize("together", [1, 7])
def test_no_genome_is_evaluated_twice(name: str, together: int) -> None:
    seen: list[Genome] = []

    def counted(genomes: Sequence[Genome]) -> list[float]:
        seen.extend(genomes)
        return total(genomes)

    small = Positions((2, 2, 2))
    search = {
        "evolution": Evolution(population=6, tournament=3),
        "random": RandomSearch(),
        "local": LocalSearch(patience=5),
    }[name].begin(small, torch.Generator().manual_seed(0))
    rows = optimise(search, counted, 60, maximise=True, together=together)
    assert len(rows) == 60 and len(seen) == len(set(seen)) == 8
    assert [row.number for row in rows] == list(range(60)) and best_of(rows).genome == (1, 1, 1)
    first = {row.genome: row.number for row in reversed(rows)}
    assert not any(row.seconds for row in rows if row.number != first[row.genome]), "what was known took no time"


def test_a_climb_among_equals_starts_again_elsewhere() -> None:
    search = LocalSearch(patience=5).begin(SPACE, torch.Generator().manual_seed(0))
    rows = optimise(search, lambda genomes: [1.0] * len(genomes), 13, maximise=True)
    assert [row.number for row in rows if row.parent is None] == [0, 6, 12]


def test_members_leave_the_population_by_age() -> None:
    search = Evolution(population=10, tournament=3).begin(SPACE, torch.Generator().manual_seed(0))
    rows = optimise(search, total, 35, maximise=True)
    assert [row.number for row in search.population] == list(range(25, 35))
    assert all(row.parent is None for row in rows[:10])
    for row in rows[10:]:
        assert row.parent is not None and row.number - 10 <= row.parent < row.number


def test_an_evolution_may_start_from_rows_of_another() -> None:
    start = rows_of("random", n=10)
    search = Evolution(population=10, tournament=10).begin(SPACE, torch.Generator().manual_seed(0), start)
    rows = optimise(search, total, 20, maximise=True)
    assert rows[0].parent == best_of(start).number and best_of(rows).fitness > best_of(start).fitness
    assert [row.number for row in search.population] == list(range(10, 20))


def test_the_fittest_of_the_tournament_has_the_child() -> None:
    search = Evolution(population=10, tournament=10).begin(SPACE, torch.Generator().manual_seed(0))
    rows = optimise(search, total, 11, maximise=True)
    assert rows[10].parent is not None and rows[rows[10].parent].fitness == best_of(rows[:10]).fitness


def test_diverged_evaluations_come_last() -> None:
    def diverging(genomes: Sequence[Genome]) -> list[float]:
        return [math.inf if genome[0] > 2 else float(sum(genome)) for genome in genomes]

    rows = rows_of("evolution", evaluate=diverging, maximise=False)
    assert {row.fitness for row in rows if row.genome[0] > 2} == {-math.inf}
    assert {row.value for row in rows if row.genome[0] > 2} == {None} and best_of(rows).genome[0] <= 2


class Killed(Exception): ...


@pytest.mark.parametrize("name", OPTIMISERS)
@pytest.mark.parametrize("after", [0, 5, 41])
def test_a_killed_search_goes_on_as_if_nothing_had_happened(name: str, after: int, tmp_path: Path) -> None:
    straight, path, calls = rows_of(name, n=60), tmp_path / "rows.jsonl", 0

    def dying(genomes: Sequence[Genome]) -> list[float]:
        nonlocal calls
        calls += 1
        if calls > after:
            raise Killed
        return total(genomes)

    with pytest.raises(Killed):
        rows_of(name, n=60, evaluate=dying, history=History(path, SPACE))
    if after:
        path.write_text(path.read_text() + '{"number": 41, "gen')  # the power went in the middle of a line
    again: list[Genome] = []

    def counted(genomes: Sequence[Genome]) -> list[float]:
        again.extend(genomes)
        return total(genomes)

    rows = rows_of(name, n=60, evaluate=counted, history=History(path, SPACE))
    assert [(r.genome, r.fitness, r.parent) for r in rows] == [(r.genome, r.fitness, r.parent) for r in straight]
    assert len(again) <= 60 - after
    kept = History(path, SPACE).before
    assert [(told.genome, told.value) for told in kept] == [(row.genome, row.value) for row in rows]


def test_the_history_is_json_lines_with_parents(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    rows_of("evolution", n=25, history=History(path, SPACE), evaluate=lambda genomes: [math.nan for _ in genomes])
    facts = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row["number"] for row in facts] == list(range(25)) and facts[24]["parent"] is not None
    assert {row["value"] for row in facts} == {None} and facts[0].keys() == {
        "number",
        "genome",
        "value",
        "fitness",
        "parent",
        "seconds",
    }


def test_the_history_of_another_search_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    rows_of("evolution", seed=0, n=10, history=History(path, SPACE))
    with pytest.raises(RunFolderError, match="other settings"):
        rows_of("evolution", seed=1, n=10, history=History(path, SPACE))
    path.write_text('{"loss": 3}\n')
    with pytest.raises(RunFolderError, match="not the rows of this search"):
        rows_of("evolution", history=History(path, SPACE))


def test_a_tournament_is_part_of_the_population() -> None:
    with pytest.raises(ConfigError, match="a tournament of 11 out of a population of 10"):
        Evolution(population=10, tournament=11)
