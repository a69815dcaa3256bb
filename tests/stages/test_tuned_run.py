"""A run keeps its algorithms in its folder: whatever would be measured later, it goes on with them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from torch import nn
from toys import FAST, ToyNet, toy_data

import dashfx
from dashfx.ops.algorithms import ALGORITHMS
from dashfx.ops.autotune import choose
from dashfx.train.progress import Epoch, Observer, read_log


class Stop(Observer):
    """Interrupts a stage after its first epoch."""

    def __init__(self, last: str) -> None:
        self.last = last

    def epoch(self, facts: Epoch) -> None:
        if facts.stage == self.last:
            raise KeyboardInterrupt


class FromRetraining(Observer):
    """Forgets what was used before the last stage that trains."""

    def __init__(self, used: list[str]) -> None:
        self.used = used

    def stage(self, name: str, detail: str = "") -> None:
        if name == "retrain":
            self.used.clear()


def search(folder: Path, measured: tuple[str, ...], space: dict[str, Any] = FAST["space"], **options: Any) -> Any:
    config = {**FAST, "space": space}
    config |= {stage: {**FAST[stage], "autotune": stage in measured} for stage in ("search", "retrain")}
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
    monkeypatch.setattr(choose, "UNLIKELY", float("inf"))
    monkeypatch.setattr(choose, "measure", lambda s, p, names, d: {name: float(name != winner) for name in names})


def test_a_resumed_run_takes_the_algorithms_of_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, used: list[str]
) -> None:
    measured("grouped_dilation", monkeypatch, tmp_path / "cache")
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path / "run", ("search",), observer=Stop("search"))
    entries = json.loads((tmp_path / "run" / "autotune.json").read_text())
    assert [entry["choice"] for entry in entries.values()] == ["grouped_dilation"] * 2
    said = [event["text"] for event in read_log(tmp_path / "run" / "log.jsonl") if event["event"] == "note"]
    assert any("2 measured in" in text for text in said)

    measured("mixed_weights", monkeypatch, tmp_path / "another cache")
    used.clear()
    search(tmp_path / "run", ("search",), resume=True)
    assert set(used[2:]) == {"grouped_dilation"}  # the two before are of the forward pass that finds the shapes
    assert json.loads((tmp_path / "run" / "autotune.json").read_text()) == entries


def test_nothing_is_measured_unless_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured("grouped_dilation", monkeypatch, tmp_path / "cache")
    monkeypatch.setattr(choose, "measure", lambda *_: pytest.fail("it was measured"))
    search(tmp_path / "run", ())
    entries = json.loads((tmp_path / "run" / "autotune.json").read_text())
    assert [entry["seconds"] for entry in entries.values()] == [{}, {}]
    assert not (tmp_path / "cache").exists()


LARGE = {"kernels": [7, 9], "dilations": [1], "keep_original": False}


def test_retraining_takes_the_fourier_path_where_that_was_faster_and_ends_in_plain_convs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, used: list[str]
) -> None:
    measured("fourier", monkeypatch, tmp_path / "cache")
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path / "run", ("retrain",), LARGE, observer=Stop("retrain"))
    entries = json.loads((tmp_path / "run" / "autotune.json").read_text())

    measured("grouped_dilation", monkeypatch, tmp_path / "another cache")
    result = search(tmp_path / "run", ("retrain",), LARGE, resume=True, observer=FromRetraining(used))
    assert set(used) == {"fourier"} and json.loads((tmp_path / "run" / "autotune.json").read_text()) == entries
    assert {type(conv) for conv in (result.model.conv1, result.model.conv2)} == {nn.Conv1d}
    assert all(choice.taps > 3 for _, choice in result.genotype.items())


def test_small_kernels_are_retrained_by_pytorch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, used: list[str]
) -> None:
    measured("fourier", monkeypatch, tmp_path / "cache")
    search(tmp_path / "run", ("retrain",), {"kernels": [3], "dilations": [1, 2]}, observer=FromRetraining(used))
    assert used == []
