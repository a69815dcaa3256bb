"""Cache of evaluations: the second run evaluates nothing, another fact is another file, damage is one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from toys import FAST, ToyNet, arrays, toy_data

import dashfx
from dashfx.errors import ConfigError, DashfxError
from dashfx.run.result import Result
from dashfx.stages import evaluators
from dashfx.strategies.evaluated.cached import Store

DATA = toy_data()


def search(cache: Path, data: Any = DATA, seed: int = 0, **blackbox: Any) -> Result:
    few = {"evaluator": "naswot", "evaluations": 6, "population": 3, "tournament": 2, **blackbox, "cache": str(cache)}
    short = {"epochs": 1, "batch_size": 16}
    config = {**FAST, "search": {"strategy": "evolution"}, "blackbox": few, "retrain": short, "seed": seed}
    return dashfx.search(ToyNet, data, config=config)


def test_the_second_run_evaluates_nothing_and_finds_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, asked = tmp_path / "cache/known.jsonl", []
    value = evaluators._Scoring.value
    monkeypatch.setattr(evaluators._Scoring, "value", lambda self, g: asked.append(g) or value(self, g))
    first = search(path)
    distinct = {row.genome for row in first.evaluations}
    assert len(asked) == len(distinct)
    asked.clear()
    again = search(path)
    assert not asked
    assert [(r.genome, r.value, r.parent) for r in again.evaluations] == [
        (r.genome, r.value, r.parent) for r in first.evaluations
    ]
    more = search(path, evaluations=12)
    assert len(asked) == len({row.genome for row in more.evaluations} - distinct)
    assert any(f"holds {len(distinct)} evaluations of these facts" in note for note in more.notes)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"seed": 1}, "model, .*seed"),
        ({"data": {**arrays(), "y": arrays()["y"][::-1].copy()}}, "data"),
        ({"batch_size": 8}, "evaluator"),
    ],
)
def test_evaluations_of_other_facts_are_refused(other: dict[str, Any], said: str, tmp_path: Path) -> None:
    search(tmp_path / "known.jsonl")
    before = (tmp_path / "known.jsonl").read_text()
    with pytest.raises(ConfigError, match=f"its evaluations are of another .*{said}.*; name another file"):
        search(tmp_path / "known.jsonl", **other)
    assert (tmp_path / "known.jsonl").read_text() == before


def test_values_come_back_by_genotype_and_fidelity_and_half_a_line_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "known.jsonl"
    store = Store(path, {"seed": 0})
    store.add({("a", 1.0): 0.5, ("a", 1 / 3): 0.25})
    Store(path, {"seed": 0}).add({("b", 1.0): float("nan")})
    with path.open("a") as file:
        file.write('{"genotype": "c", "fid')
    found = Store(path, {"seed": 0})
    assert {key: value for key, value in found.values.items() if value == value} == {
        ("a", 1.0): 0.5,
        ("a", 1 / 3): 0.25,
    }
    assert ("b", 1.0) in found.values and len(found.values) == 3
    found.add({("d", 1.0): 1.0})
    assert ("d", 1.0) in Store(path, {"seed": 0}).values
    assert sum("facts" in json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")) == 1


def test_one_process_of_several_writes(tmp_path: Path) -> None:
    Store(tmp_path / "known.jsonl", {}, writes=False).add({("a", 1.0): 0.5})
    assert not (tmp_path / "known.jsonl").exists()


def test_mistakes_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "other.jsonl").write_text('{"loss": 3}\n')
    with pytest.raises(ConfigError, match="not a cache of evaluations"):
        search(tmp_path / "other.jsonl")
    with pytest.raises(DashfxError, match=r"blackbox.cache does nothing with evaluator supernet"):
        search(tmp_path / "known.jsonl", evaluator="supernet")
