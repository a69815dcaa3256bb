"""A run keeps its algorithms in its folder: whatever would be measured later, it goes on with them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from toys import FAST, ToyNet, toy_data

import dashfx
import dashfx.ops.autotune as autotune
from dashfx.ops.algorithms import ALGORITHMS
from dashfx.progress import Epoch, Observer, read_log


class Stop(Observer):
    def epoch(self, facts: Epoch) -> None:
        raise KeyboardInterrupt


def search(folder: Path, autotuned: bool = True, **options: Any) -> Any:
    config = {**FAST, "search": {**FAST["search"], "autotune": autotuned}}
    return dashfx.search(ToyNet(), toy_data(), task="classify", out=folder, config=config, **options)


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The algorithms in the order in which they are called."""
    names: list[str] = []
    for name, algorithm in list(ALGORITHMS.items()):
        monkeypatch.setitem(ALGORITHMS, name, lambda *a, n=name, f=algorithm: names.append(n) or f(*a))
    return names


def measured(winner: str, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    """Make `winner` the fastest, for problems that no cache knows."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.setattr(autotune, "UNLIKELY", float("inf"))
    monkeypatch.setattr(autotune, "measure", lambda s, p, names, d: {name: float(name != winner) for name in names})


def test_a_resumed_run_takes_the_algorithms_of_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, used: list[str]
) -> None:
    measured("grouped_dilation", monkeypatch, tmp_path / "cache")
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path / "run", observer=Stop())
    entries = json.loads((tmp_path / "run" / "autotune.json").read_text())
    assert [entry["choice"] for entry in entries.values()] == ["grouped_dilation"] * 2
    said = [event["text"] for event in read_log(tmp_path / "run" / "log.jsonl") if event["event"] == "note"]
    assert any("2 measured in" in text for text in said)

    measured("mixed_weights", monkeypatch, tmp_path / "another cache")
    used.clear()
    search(tmp_path / "run", resume=True)
    assert set(used[2:]) == {"grouped_dilation"}  # the two before are of the forward pass that finds the shapes
    assert json.loads((tmp_path / "run" / "autotune.json").read_text()) == entries


def test_nothing_is_measured_unless_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured("grouped_dilation", monkeypatch, tmp_path / "cache")
    monkeypatch.setattr(autotune, "measure", lambda *_: pytest.fail("it was measured"))
    search(tmp_path / "run", autotuned=False)
    entries = json.loads((tmp_path / "run" / "autotune.json").read_text())
    assert [entry["seconds"] for entry in entries.values()] == [{}, {}]
    assert not (tmp_path / "cache").exists()
