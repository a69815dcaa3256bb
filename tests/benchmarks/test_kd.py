"""Our benchmark of kernels and dilations: its draws, its rows, its committed tables, and the correlations over them."""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from benchmarks.kd import rank, strategies, train
from benchmarks.kd.load import between_seeds, first_seed, load
from dashfx.backbones import WRN1d
from dashfx.blackbox.base import best_of, optimise
from dashfx.blackbox.optimisers.evolution import Evolution
from dashfx.ops import sites_of
from dashfx.stages.evaluators import ByTable
from dashfx.supernet import rewrite

TABLES = sorted((Path(train.__file__).parent).glob("*.json"))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    path = tmp_path / "tiny.npz"
    parts = {"train": 48, "test": 16}
    arrays = {f"x_{part}": rng.standard_normal((n, 32)).astype(np.float32) for part, n in parts.items()}
    np.savez(path, **arrays, **{f"y_{part}": np.arange(n) % 3 for part, n in parts.items()})
    return path


@pytest.fixture
def table(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three genotypes after an epoch."""
    plan = list(train.plan())[:3]
    monkeypatch.setattr(train, "plan", lambda: iter(plan))
    monkeypatch.setattr(train, "RECIPE", train.RECIPE.model_copy(update={"epochs": 1}))
    out = tmp_path / "tiny.json"
    monkeypatch.setattr(sys, "argv", ["", "--data", str(data), "--out", str(out)])
    train.main()
    return out


def test_draws_are_distinct_and_hold_narrow_and_wide_ones() -> None:
    plan = list(train.plan())
    firsts = [genotype for _, seed, _, genotype in plan if seed == 0]
    assert len(set(firsts)) == len(firsts) == 60
    spans = [statistics.geometric_mean(c.span[0] for c in genotype.values()) for genotype in firsts]
    assert sum(span < 10 for span in spans) >= 8 and sum(span > 60 for span in spans) >= 8
    assert {number for number, seed, _, _ in plan if seed} == set(train.REPEATED)


def test_a_row_is_trained_once(table: Path) -> None:
    before = table.read_text()
    train.main()
    assert table.read_text() == before
    half = json.loads(before)
    half["rows"] = half["rows"][:1]
    table.write_text(json.dumps(half))
    train.main()
    again = json.loads(table.read_text())["rows"]
    assert [{**row, "seconds": 0} for row in again] == [{**row, "seconds": 0} for row in json.loads(before)["rows"]]


def test_rows_survive_the_file(table: Path) -> None:
    rows = load(table)
    assert [row.genotype for row in rows] == [genotype for *_, genotype in train.plan()]
    untouched, three, _ = rows
    assert untouched.params == sum(p.numel() for p in WRN1d(3, 1, train.WIDTH).parameters())
    assert three.flops < untouched.flops


def test_scores_of_proxies_and_supernet_stand_in_a_table(
    table: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = json.loads(table.read_text())
    for number, row in enumerate(facts["rows"]):
        row["valid"] = row["test"] = number / 10
    table.write_text(json.dumps(facts))
    out = tmp_path / "scores.jsonl"
    arguments = ["", "--table", str(table), "--data", str(data), "--out", str(out), "--epochs", "1"]
    monkeypatch.setattr(sys, "argv", [*arguments, "--proxies", "naswot", "supernet"])
    rank.main()
    lines = out.read_text()
    printed = capsys.readouterr().out
    assert "| naswot | 3 |" in printed and "| supernet | 3 |" in printed and "| span | 3 |" in printed
    rank.main()
    assert out.read_text() == lines


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
def test_evolution_runs_on_a_committed_table(path: Path) -> None:
    rows = load(path)
    assert len(first_seed(rows)) >= 60 and len(between_seeds(rows)) >= 8
    assert len({row.epochs for row in rows}) == 1
    supernet = rewrite(WRN1d(15, 1, train.WIDTH), torch.zeros(2, 1, 300), train.SPACE.with_original(), "fresh")
    evaluating = ByTable(str(path)).begin(SimpleNamespace(sites=sites_of(supernet)))
    strategy = Evolution(10, 4).begin(evaluating.space(sites_of(supernet)), torch.Generator().manual_seed(0))
    found = optimise(strategy, lambda gs: [evaluating.value(g) for g in gs], 60, maximise=evaluating.maximise)
    assert best_of(found).value >= statistics.quantiles([row.valid for row in rows], n=10)[8]


def test_strategies_are_compared_in_a_table(
    table: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = json.loads(table.read_text())
    for number, row in enumerate(facts["rows"]):
        row["valid"], row["test"] = number / 10, 1 - number / 10
    table.write_text(json.dumps(facts))
    monkeypatch.setattr(sys, "argv", ["", str(table), "--evaluations", "20", "--repeats", "2"])
    strategies.main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[2:] == [f"| tiny | {name} | 0.2000, 0.8000 |" for name in strategies.STRATEGIES]
