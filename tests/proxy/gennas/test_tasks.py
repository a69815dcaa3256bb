"""Proxy tasks: targets from batch and seed alone, JSON there and back, mistakes in a file named in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from dashfx.errors import ProxyError
from dashfx.proxy import COMBO, SINGLE, GenNAS, Noise, Signal, Stage, Task, load_task

IMAGES = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
EMPTY = Stage((), 0.0)


def only(signal: Signal, noise: Noise = Noise()) -> Task:  # noqa: B008
    return Task("one", (EMPTY, EMPTY, Stage((signal,), 1.0, channels=6)), noise)


def test_the_authors_two_tasks() -> None:
    assert [stage.weight for stage in SINGLE.stages] == [0, 0, 1]
    assert SINGLE.stages[2].signals == (Signal("dot", share=1.0, local=True),)
    assert [stage.weight for stage in COMBO.stages] == [0.25, 0.5, 1]
    assert [[s.kind for s in stage.signals] for stage in COMBO.stages] == [
        ["sin1d", "sin2d", "dot"],
        ["sin1d", "sin2d", "resize"],
        ["sin1d", "dot", "resize"],
    ]
    assert COMBO.stages[1].signals[1].frequencies == "medium"
    assert all(s.local for stage in COMBO.stages for s in stage.signals)


def test_targets_are_the_sum_of_the_signals_and_repeat() -> None:
    first = COMBO.targets(IMAGES, seed=0)
    assert [t.shape for t in first if t is not None] == [(4, 64, 8, 8)] * 3
    assert all(
        torch.equal(a, b)
        for a, b in zip(first, COMBO.targets(IMAGES, 0), strict=True)
        if a is not None and b is not None
    )
    assert not torch.equal(first[0], COMBO.targets(IMAGES, 1)[0])  # type: ignore[arg-type]
    assert SINGLE.targets(IMAGES, 0)[:2] == [None, None]


def test_stages_with_the_same_signals_have_different_maps() -> None:
    stage = Stage((Signal("dot"),), 1.0)
    first, second, _ = Task("same", (stage, stage, stage)).targets(IMAGES, 0)
    assert first is not None and second is not None and not torch.equal(first, second)


def test_a_stage_does_not_depend_on_the_others() -> None:
    alone = Task("alone", (EMPTY, EMPTY, COMBO.stages[2])).targets(IMAGES, 5)[2]
    assert torch.equal(alone, COMBO.targets(IMAGES, 5)[2])  # type: ignore[arg-type]


def test_a_global_signal_is_one_draw_for_the_batch() -> None:
    shared, own = (only(Signal("dot", local=local)).targets(IMAGES, 0)[2] for local in (False, True))
    assert shared is not None and own is not None and shared.shape == own.shape == (4, 6, 8, 8)
    assert all(torch.equal(shared[0], row) for row in shared) and not torch.equal(own[0], own[1])


def test_a_level_is_a_factor() -> None:
    one, half = (only(Signal("sin1d", level=level)).targets(IMAGES, 0)[2] for level in (1.0, 0.5))
    assert one is not None and half is not None and torch.allclose(one, 2 * half)


def test_series_leave_sin2d_out() -> None:
    series = torch.rand(4, 2, 100)
    assert [t.shape for t in COMBO.targets(series, 0) if t is not None] == [(4, 64, 64)] * 3
    both = Task("both", (EMPTY, EMPTY, Stage((Signal("sin2d"), Signal("dot")), 1.0))).targets(series, 0)[2]
    assert both is not None and set(both.unique().tolist()) == {-1.0, 1.0}


@pytest.mark.parametrize("task", [SINGLE, COMBO, only(Signal("gdot", 0.3, "low", 0.5, False), Noise("gaussian", 0.1))])
def test_json_gives_the_task_back(task: Task, tmp_path: Path) -> None:
    file = tmp_path / "task.json"
    file.write_text(task.to_json(), encoding="utf-8")
    assert Task.from_json(task.to_json()) == load_task(file) == load_task(task) == task
    assert load_task("combo") is COMBO


def broken(change: str) -> str:
    raw = json.loads(COMBO.to_json())
    signal = raw["stages"][0]["signals"][0]
    if change == "kind":
        signal["kind"] = "sin1"
    elif change == "key":
        signal["frequency"] = "high"
    elif change == "share":
        signal["share"] = 2
    elif change == "type":
        raw["stages"][0]["weight"] = "big"
    elif change == "stages":
        del raw["stages"][0]
    elif change == "missing":
        del raw["stages"][1]["weight"]
    elif change == "noise":
        raw["noise"] = {"kind": "pink"}
    elif change == "nothing":
        raw = []
    elif change == "weights":
        for stage in raw["stages"]:
            stage["weight"] = 0
    return json.dumps(raw)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("kind", "did you mean 'sin1d'"),
        ("key", "did you mean 'frequencies'"),
        ("share", "share of 1/64 to 1"),
        ("type", "big"),
        ("stages", "three stages"),
        ("missing", "weight"),
        ("noise", "no noise 'pink'"),
        ("nothing", "a list 'stages'"),
        ("weights", "a weight above 0"),
    ],
)
def test_a_broken_file_is_refused_in_one_line(change: str, why: str, tmp_path: Path) -> None:
    file = tmp_path / "task.json"
    file.write_text(broken(change), encoding="utf-8")
    with pytest.raises(ProxyError, match=why) as error:
        load_task(file)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "why"), [("comb", "did you mean 'combo'"), ("none.json", "cannot be read"), ("x", "a .json file")]
)
def test_an_unknown_task_is_refused(name: str, why: str) -> None:
    with pytest.raises(ProxyError, match=why):
        load_task(name)


def test_a_task_that_asks_nothing_of_a_model_is_refused() -> None:
    net, series = nn.Sequential(nn.Conv1d(2, 3, 3), nn.Flatten()), torch.rand(4, 2, 70)
    early = Task("early", (COMBO.stages[0], EMPTY, EMPTY))
    for task in (early, only(Signal("sin2d"))):
        with pytest.raises(ProxyError, match="asks nothing of this model"):
            GenNAS(task, iterations=1).score(net, series)
