"""The front of a search: cheapest first, counted as the models are, kept in the result, drawn in the report."""

from __future__ import annotations

import json
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
from toys import FAST, ToyNet, toy_data

import dashfx
from dashfx import Candidate, Genotype
from dashfx.config.run import RunConfig
from dashfx.cost.budgets import Limit, Limits, read_budget
from dashfx.cost.counts import parameters_of
from dashfx.cost.precision import Drops
from dashfx.errors import ConfigError
from dashfx.run.outcome.front import Front, Point, SiteTime
from dashfx.run.result import Result
from dashfx.stages.costs import front as stage
from dashfx.stages.costs.front import check_front, front_cost
from dashfx.strategies.named import strategy_of
from dashfx.supernet import specialise

DATA = toy_data()


def config(**search: Any) -> dict[str, Any]:
    return {**FAST, "search": {**FAST["search"], "epochs": 2, **search}}


@pytest.fixture(scope="module")
def searched() -> Result:
    return dashfx.search(ToyNet, DATA, config=config(pareto=5, pareto_cost="params"))


def test_the_points_rise_from_the_least_to_the_preferred_choice(searched: Result) -> None:
    front = searched.front
    assert front is not None and front.cost == "params" and 2 <= len(front.points) <= 5
    costs, scores = [each.cost for each in front.points], [each.score for each in front.points]
    assert costs == sorted(costs) and scores == sorted(scores) and costs[0] == parameters_of(ToyNet())
    assert front.points[-1].genotype == searched.genotype
    for each in front.points:
        model = specialise(ToyNet(), DATA.train.__getitems__([0, 1])[0], each.genotype)
        assert parameters_of(model) == each.cost and 0 <= each.valid <= 1


def test_a_run_with_a_front_is_the_run_without_it(searched: Result) -> None:
    plain = dashfx.search(ToyNet, DATA, config=config())
    assert plain.front is None and plain.genotype == searched.genotype and plain.valid == searched.valid


def test_a_front_comes_back_from_json(searched: Result) -> None:
    front = searched.front
    assert front is not None and Front.from_dict(front.to_dict()) == front
    assert searched.to_dict()["front"]["points"][0]["cost"] == front.points[0].cost
    assert "bits" not in front.to_dict()["points"][0]
    time = SiteTime("a", (0.1, 2.0), (0.3, 4.0))
    assert SiteTime.from_dict({"name": "a", "before": [0.1, 2.0], "after": [0.3, 4.0]}) == time


def test_bits_of_a_point_come_back_from_json_and_are_listed() -> None:
    kernels = {"a": Candidate(5), "b": Candidate(3)}
    front = Front("size", "bytes", (Point(Genotype(kernels, bits={"a": 8}), 9.0, "9 B", -1.0, 0.5),))
    assert Front.from_dict(json.loads(json.dumps(front.to_dict()))).points[0].genotype.bits == {"a": 8}
    assert front.points[0].genotype.listed == "a k5 d1 int8; b k3 d1"


@pytest.mark.parametrize(("drop", "in_int8"), [(0.4, ["a"]), (0.6, [])])
def test_the_front_keeps_to_the_drop_that_int8_may_cost(
    monkeypatch: pytest.MonkeyPatch, drop: float, in_int8: list[str]
) -> None:
    monkeypatch.setattr(stage, "measured_drops", lambda run, supernet: Drops({"a": drop}, {"a": 0.1}, 0.5))
    monkeypatch.setattr(stage, "sites_of", lambda supernet: {"a": None})
    monkeypatch.setattr(stage, "decisions_of", lambda sites: [["a"]])
    monkeypatch.setattr(stage, "_point", lambda run, supernet, each, limits, score: Point(each, 0.0, "", score, 0.5))
    row = {Candidate(3): 12.0}
    limit = Limit(
        read_budget("size=1KB"), 1e3, 0.0, {"a": 12.0}, {"a": row}, 12.0, {"a": 3.0}, {"a": {Candidate(3): 3.0}}
    )
    rule = SimpleNamespace(preferred=lambda sites: {"a": {Candidate(3): 0.0}})
    run: Any = SimpleNamespace(
        config=RunConfig.parse(config(pareto=2, budgets=["size=1KB"])),
        limits=Limits((limit,)),
        strategy=SimpleNamespace(training=SimpleNamespace(rule=rule)),
        stage=lambda name, detail: nullcontext(),
    )
    front = stage.fronted(run, ToyNet())
    assert front is not None and list(front.points[0].genotype.bits) == in_int8


def test_the_cost_is_the_one_asked_for_or_that_of_the_first_budget() -> None:
    def cost(**search: Any) -> str:
        return front_cost(RunConfig.parse(config(**search)))

    assert cost() == "latency" and cost(budgets=["macs=1M", "params=2"]) == "macs"
    assert cost(budgets=["latency:threads=2=1ms"]) == "latency:threads=2"
    assert cost(budgets=["macs=1M"], pareto_cost="size") == "size"


@pytest.mark.parametrize(
    ("search", "why"),
    [
        (
            {"pareto": 3, "strategy": "random"},
            "--pareto 3 chooses again from trained mixtures, and search.strategy=random",
        ),
        ({"pareto": 3, "pareto_cost": "parms"}, r"no cost 'parms' \(did you mean 'params'"),
    ],
)
def test_a_front_that_cannot_be_had_is_refused(search: dict[str, Any], why: str) -> None:
    made = RunConfig.parse(config(**search))
    with pytest.raises(ConfigError, match=why):
        check_front(made, strategy_of(made))
    check_front(made.model_copy(update={"search": made.search.model_copy(update={"pareto": 0})}), strategy_of(made))
