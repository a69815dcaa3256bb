"""The table of all genotypes of a small network: trained once, again the same, refused where seeds do not agree."""

from __future__ import annotations

import itertools
import json
import math
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks.kd import whole
from benchmarks.kd.load import load
from benchmarks.kd.table import write
from benchmarks.nas.spaces import of_table
from dashfx.blackbox.genomes import Listed
from dashfx.blackbox.genotype_table import GenotypeTable
from dashfx.errors import GenotypeError
from dashfx.genotype import Genotype
from dashfx.space import Candidate
from dashfx.stages.evaluators import ByTable, bound


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A tiny task, six genotypes and an epoch each."""
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("data") / "tiny.npz"
    parts = {"train": 40, "test": 16}
    arrays = {f"x_{part}": rng.standard_normal((n, 32)).astype(np.float32) for part, n in parts.items()}
    np.savez(path, **arrays, **{f"y_{part}": np.arange(n) % 3 for part, n in parts.items()})
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(whole, "CHOICES", [Candidate(3), Candidate(3, 4)])
        patched.setattr(whole, "SEEDS", 2)
        patched.setattr(whole, "RECIPE", whole.RECIPE.model_copy(update={"epochs": 1}))
        first = tuple(itertools.islice(map(_genotype, itertools.product(whole.CHOICES, repeat=4)), 6))
        patched.setattr(whole, "genotypes", lambda: first)
        yield path


def _genotype(choices: tuple[Candidate, ...]) -> Genotype:
    return Genotype(dict(zip(whole.CONVS, choices, strict=True)))


def made(data: Path, out: Path, *more: str) -> int:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sys, "argv", ["", "--data", str(data), "--out", str(out), "--pilot", "4", *more])
        return whole.main()


@pytest.fixture(scope="module")
def built(data: Path) -> Path:
    out = data.parent / "whole.json"
    assert made(data, out, "--least", "-2") == 0
    return out


@pytest.fixture
def table(built: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copy(built, tmp_path))


def test_all_genotypes_are_there_with_every_seed_and_a_curve(table: Path) -> None:
    rows = load(table)
    assert [(row.seed, row.id) for row in rows] == [(s, n) for s in (0, 1) for n in range(6)]
    assert len({row.genotype for row in rows}) == 6 and {len(row.curve) for row in rows} == {1}
    assert all(row.valid == pytest.approx(row.curve[-1][1], abs=1e-5) for row in rows)
    assert isinstance(of_table(table).space, Listed)  # the other ten are not there


def test_a_row_is_what_training_it_again_comes_to(table: Path, data: Path) -> None:
    rows = json.loads(table.read_text())["rows"]
    for place in np.random.default_rng(1).choice(len(rows), 3, replace=False):
        row = rows[place]
        again = whole.row_of(str(data), row["id"], row["seed"])
        assert {k: v for k, v in again.items() if k != "seconds"} == {k: row[k] for k in again if k != "seconds"}


def test_a_killed_build_goes_on(table: Path, data: Path) -> None:
    before = table.read_text()
    cut = json.loads(before)
    lost = cut["rows"].pop(8)
    write(cut, table)
    made(data, table, "--least", "-2")
    facts, again = json.loads(before), json.loads(table.read_text())
    for each in (facts, again):
        each["rows"][8].pop("seconds")
    assert again == facts and again["rows"][8]["id"] == lost["id"]


def test_nothing_else_is_trained_where_seeds_do_not_agree(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "whole.json"
    assert made(data, out, "--least", "1") == 1
    assert "seeds do not agree" in capsys.readouterr().out
    facts = json.loads(out.read_text())
    assert len(facts["rows"]) == 8 and facts["power"]["genotypes"] == 4


def test_power_is_kendalls_tau_of_two_seeds() -> None:
    first = [{"id": i, "seed": 0, "valid": v, "test": 1.0} for i, v in enumerate((0.1, 0.2, 0.3))]
    second = [{"id": i, "seed": 1, "valid": v, "test": 1.0} for i, v in enumerate((0.1, 0.3, 0.2))]
    assert whole.power([*first, *second], [0, 1, 2]) == {"genotypes": 3, "valid": round(1 / 3, 3), "test": 0.0}


def test_latency_is_one_figure_a_genotype(table: Path, data: Path) -> None:
    facts = json.loads(table.read_text())
    facts["rows"] = [row for row in facts["rows"] if row["id"] < 2]
    write(facts, table)
    made(data, table, "--latency")
    found = {row.id: row.latency for row in load(table)}
    assert all(value > 0 and math.isfinite(value) for value in found.values()) and len(found) == 2


def test_a_search_takes_the_file_in_its_own_space_alone(table: Path) -> None:
    ByTable(str(table))
    found = GenotypeTable.load(table).values
    own = dict(whole.genotypes()[5])
    assert len(found) == 6 and found[Genotype(own)] == pytest.approx(fmean(r.valid for r in load(table) if r.id == 5))

    def sites(*choices: Candidate) -> Any:
        return {name: SimpleNamespace(candidates=choices, ndim=1) for name in whole.CONVS}

    assert bound(Genotype(own), sites(Candidate(3), Candidate(3, 4)), "t") == Genotype(own)
    for other in (sites(Candidate(3), Candidate(5)), {"conv1": sites(Candidate(3))["conv1"]}):
        with pytest.raises(GenotypeError, match="table"):
            bound(Genotype(own), other, "t")
