"""Methods on tables: regrets against enumeration, the spaces of the benchmarks, and searches of equal time."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import methods
from benchmarks.gennas import macro, nb201
from benchmarks.kd import train, whole
from benchmarks.kd.load import load
from benchmarks.kd.table import read, text_of, write
from benchmarks.nas import blackbox, gradient, report
from benchmarks.nas.spaces import Tabled, of_benchmarks, of_table
from dashfx.blackbox.genomes import GenotypeSpace, Listed, Positions
from dashfx.blackbox.named import OPTIMISERS
from dashfx.blackbox.optimisers.random import RandomSearch
from dashfx.config.methods import METHODS
from dashfx.errors import ConfigError
from dashfx.plugins import find
from dashfx.space import Candidate

CRICKET = Path(train.__file__).parent / "cricketx.json"


def additive(sizes: tuple[int, ...] = (4,) * 6) -> Tabled:
    """Each position's choice is worth its number, so the optimum is known."""
    values = {genome: float(sum(genome)) for genome in np.ndindex(*sizes)}
    return Tabled("additive", Positions(sizes), values, values, seconds=2.0)


def test_regret_is_the_distance_to_the_best() -> None:
    table = additive((3, 3))
    assert table.best == 4.0
    genome = blackbox.ends(table, RandomSearch(), 500, seed=0)
    assert genome == (2, 2) and blackbox.regrets(table, "random-search", 500, 2) == [0.0, 0.0]


def test_evolution_beats_random_draws_on_an_additive_landscape() -> None:
    """Calibrated: p < 1e-3 at 60 evaluations and 30 repeats."""
    table = additive()
    line = blackbox.row(
        table, blackbox.SIZED["evolution"], 60, blackbox.regrets(table, "random-search", 60, 30), repeats=30
    )
    assert float(line.split("|")[-2]) < 0.01


def test_equal_time_is_a_number_of_trainings() -> None:
    options = argparse.Namespace(seconds=9.0, evaluations=[10])
    assert blackbox.counts(additive(), options) == [4]
    assert blackbox.counts(additive(), argparse.Namespace(seconds=None, evaluations=[10])) == [10]


def test_every_optimiser_searches_a_table_or_says_why_not() -> None:
    """BOHB asks for shares of trainings, so it needs curves; it has as many rows as its shares add up to."""
    for name in OPTIMISERS:
        line = blackbox.row(additive(), blackbox.SIZED.get(name, name), 12, [0.0, 1.0], 2)
        assert ("not run: it asks for shares" in line) == (name == "bohb"), line
    table = additive()
    curves = {genome: [value / 3, value / 2, value] for genome, value in table.true.items()}
    asked = list[float]()

    class Counting(Tabled):
        def at(self, genome: Any, fidelity: float = 1.0) -> float:
            asked.append(fidelity)
            return super().at(genome, fidelity)

    counting = Counting("c", table.space, table.seen, table.true, 2.0, curves)
    assert counting.at((1,) * 6, 1 / 3) == 2.0 and counting.at((1,) * 6, 2 / 3) == 3.0 and counting.at((1,) * 6) == 6.0
    blackbox.ends(counting, find("optimiser", "bohb"), 6, seed=0)
    assert min(asked) < 1


def test_an_optimiser_that_cannot_search_there_is_a_line() -> None:
    assert "not run" in blackbox.row(additive(), "evolution:population=1,tournament=2", 5, [0.0], 2)


def test_our_table_is_a_list_judged_on_test() -> None:
    table = of_table(CRICKET)
    assert isinstance(table.space, Listed) and len(table.true) == 60 and table.seconds
    assert table.best == max(table.true.values())


@pytest.fixture
def nas(tmp_path: Path) -> Path:
    """Files of the form of the benchmarks, with a few networks."""
    cells = [nb201.write(tuple(nb201.OPERATIONS[i] for i in row)) for row in ((0,) * 6, (3, 1, 2, 0, 4, 3))]
    (tmp_path / "nasbench201_test_accuracy.json").write_text(json.dumps({"arch": cells, "cifar10": [10.0, 93.0]}))
    layers = {"0" * 8: {"mean_acc": 80.0}, "01201201": {"mean_acc": 92.0}}
    (tmp_path / "nasbench_macro_cifar10.json").write_text(json.dumps(layers))
    return tmp_path


def test_genomes_of_the_benchmarks_are_their_networks(nas: Path) -> None:
    cells, layers = of_benchmarks(nas)
    assert cells.true == {(0,) * 6: 10.0, (3, 1, 2, 0, 4, 3): 93.0}
    assert layers.true == {(0,) * 8: 80.0, (0, 1, 2, 0, 1, 2, 0, 1): 92.0}
    assert cells.space == Positions((5,) * 6) and layers.space == Positions((3,) * len(macro.CHANNELS))


def test_the_table_of_black_boxes(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["blackbox", "--tables", str(CRICKET), "--evaluations", "5", "--repeats", "3", "--optimisers"]
    monkeypatch.setattr(sys, "argv", ["", *arguments, "random-search", "local"])
    assert methods.main() == 0
    rows = capsys.readouterr().out.splitlines()
    assert len(rows) == 4 and rows[2].startswith("| cricketx | random-search | 5 |")


def test_all_methods_that_train_mixtures_are_there() -> None:
    assert {"dash", "darts", "gdas", "gaea", "darts-pt", "r-darts"} <= set(gradient.METHODS) <= METHODS.keys()
    assert not {"evolution", "random", "ladder"} & set(gradient.METHODS)


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, Path]]:
    """Data, and a table of all sixteen genotypes whose values are made up."""
    rng = np.random.default_rng(0)
    data, path = tmp_path / "tiny.npz", tmp_path / "toy.json"
    np.savez(data, x=rng.standard_normal((60, 32)).astype(np.float32), y=np.arange(60) % 3)
    monkeypatch.setattr(whole, "CHOICES", [Candidate(3), Candidate(3, 4)])
    whole.genotypes.cache_clear()
    table = whole.header(read(str(data)))
    facts: dict[str, Any] = {"draw": "all", "params": 1, "flops": 1, "train_loss": 1.0, "epochs": 1, "seconds": 1.0}
    for number, genotype in enumerate(whole.genotypes()):
        choices = {name: text_of(choice) for name, choice in genotype.items()}
        value = {"valid": 0.5 + number / 100, "test": 0.5 + number / 100}
        table["rows"].append({"id": number, "seed": 0, "genotype": choices, **facts, **value})
    write(table, path)
    yield data, path
    whole.genotypes.cache_clear()


def test_a_gradient_search_is_looked_up_and_reported(
    toy: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data, table = toy
    out = tmp_path / "lines.jsonl"
    arguments = ["--table", str(table), "--data", str(data), "--methods", "dash", "gaea", "--seconds", "0.001"]
    monkeypatch.setattr(sys, "argv", ["", "gradient", *arguments, "--seeds", "0", "--out", str(out)])
    monkeypatch.setattr(gradient, "MOST", 1)
    assert methods.main() == 0
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["method"] for line in lines] == ["dash", "gaea"] and all(line["looked_up"] for line in lines)
    values = {tuple(row.genotype[name] for name in whole.CONVS): row.test for row in load(table)}
    for line in lines:
        chosen = tuple(Candidate(*map(int, line["genotype"][name].split(","))) for name in whole.CONVS)
        assert line["test"] == values[chosen]
    before = out.read_text()
    assert methods.main() == 0 and out.read_text() == before  # nothing is computed again
    monkeypatch.setattr(sys, "argv", ["", "report", str(out), "--table", str(table), "--repeats", "3"])
    assert methods.main() == 0
    shown = capsys.readouterr().out
    assert "| dash | 1 |" in shown and "| one random draw | 16 |" in shown and "evolution, " in shown


def test_a_genotype_that_no_table_holds_is_trained(toy: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """By the network and the recipe of the table: either of them."""
    data, table = toy
    for module in (train, whole):
        monkeypatch.setattr(module, "RECIPE", module.RECIPE.model_copy(update={"epochs": 1}))
    options, facts = argparse.Namespace(table=table, data=str(data)), json.loads(table.read_text())
    own = whole.genotypes()[7]
    write({**facts, "rows": facts["rows"][:2]}, table)
    found = gradient.worth(options, own, seed=1)
    assert not found["looked_up"] and found["test"] == whole.row_of(str(data), 7, 1)["test"]
    write({**facts, "model": "dashfx.backbones:WRN1d width=16"}, table)
    genotype = next(iter(train.plan()))[3]
    assert 0 <= gradient.worth(options, genotype, seed=0)["test"] <= 1


def test_what_a_method_cannot_do_is_a_line(toy: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> None:
        raise ConfigError("no")

    monkeypatch.setattr(gradient, "searched", fails)
    options = argparse.Namespace(table=toy[1], data=str(toy[0]), seconds=1.0)
    assert gradient.line(options, "dash", 0) == {"failure": "no"}
    lines = [{"method": "dash", "seed": 0, "failure": "no"}]
    shown = list(report.table(lines, argparse.Namespace(lines=None, table=toy[1], repeats=2)))
    assert shown[-1].endswith("not run: no")


def test_space_of_a_whole_table_is_complete(toy: tuple[Path, Path]) -> None:
    space = of_table(toy[1]).space
    assert isinstance(space, GenotypeSpace)
    genome = space.sample(torch.Generator().manual_seed(0))
    assert genome in of_table(toy[1]).true
