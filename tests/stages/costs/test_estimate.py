"""The estimate before a run: epochs times steps times what a step takes, and what the network sees."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from toys import FAST, ToyNet, toy_data

import dashfx
from dashfx.run.prepare import prepare
from dashfx.stages.costs import estimate as estimating
from dashfx.stages.costs.estimate import VALIDATION, Sight, estimate, sight
from dashfx.stages.rewrite import rewritten

DATA = toy_data()


def config(**changes: Any) -> dict[str, Any]:
    return {**FAST, "search": {**FAST["search"], "autotune": False}, **changes}


def test_stages_cost_their_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        estimating, "step_seconds", lambda run, learner, size: 4.0 if hasattr(learner, "sites") else 1.0
    )
    run = prepare(ToyNet, DATA, config=config(control=True))
    _, supernet = rewritten(run)
    found = estimate(run, supernet)
    assert (
        set(found.seconds) == {"search", "retrain", "control"} and found.seconds["retrain"] == found.seconds["control"]
    )
    search, retrain = run.config.search, run.config.retrain
    steps = -(-len(DATA.train) // search.batch_size)
    assert found.seconds["search"] == pytest.approx(VALIDATION * search.epochs * steps * 4.0)
    assert found.seconds["retrain"] == pytest.approx(
        VALIDATION * retrain.epochs * -(-len(DATA.train) // retrain.batch_size)
    )
    assert found.total == pytest.approx(sum(found.seconds.values()))
    assert found.supernet_parameters > found.parameters == sum(p.numel() for p in ToyNet().parameters())


def test_a_retraining_that_validation_ends_costs_at_most_its_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimating, "step_seconds", lambda *_: 1.0)
    run = prepare(ToyNet, DATA, config=config(control=True, tune={"trials": 2}, retrain={"batch_size": 16}))
    found = estimate(run, rewritten(run)[1])
    steps, most = -(-len(DATA.train) // 16), 6000 // (len(DATA.train) // 16)
    assert found.seconds["retrain"] == found.seconds["control"] == pytest.approx(VALIDATION * most * steps)
    assert found.seconds["tune"] == pytest.approx(VALIDATION * 2 * 0.4 * (most / 4) * steps)
    assert found.open == ("retrain", "retrain-plain", "control")
    given = prepare(ToyNet, DATA, config=config(control=True))
    assert estimate(given, rewritten(given)[1]).open == ()


def test_steps_are_timed_on_copies() -> None:
    run = prepare(ToyNet, DATA, config=config())
    _, supernet = rewritten(run)
    before = {name: value.clone() for name, value in supernet.state_dict().items()}
    found = estimate(run, supernet)
    assert found.plain_step > 0 and found.search_step is not None and found.search_step > 0
    assert all(torch.equal(value, before[name]) for name, value in supernet.state_dict().items())


@pytest.mark.parametrize(
    ("kernels", "late", "words"),
    [((3, 3), (), "no answer can depend on the whole"), ((33, 3), ("1",), "1 get inputs that have seen the whole")],
)
def test_what_the_network_sees(kernels: tuple[int, int], late: tuple[str, ...], words: str) -> None:
    net = nn.Sequential(*(nn.Conv1d(2, 2, k, padding=k // 2) for k in kernels), nn.AdaptiveAvgPool1d(1), nn.Flatten())
    x = torch.zeros(2, 2, 20)
    found = sight(dashfx.trace(net, x), x)
    assert found is not None and found.late == late and words in found.sentence()


def test_an_axis_that_is_not_seen_whole_is_enough() -> None:
    assert "no answer can depend on the whole" in Sight((10, 10), (12.0, 8.0), ()).sentence()


def test_a_long_run_is_told_what_makes_it_shorter() -> None:
    long = estimating.Estimate(100, 10_000, 0, 10.0, 1.0, {"search": 7200.0})
    assert any("--budget" in line for line in long.advice()) and any("100 times" in line for line in long.advice())
    assert estimating.Estimate(100, 200, 0, 10.0, 1.0, {"search": 10.0}).advice() == []
