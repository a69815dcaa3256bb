"""Lengths of rungs and of longer trainings, against numbers worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest

from dashfx.config.run import RunConfig
from dashfx.stages.finalists.lengths import (
    lengthened,
    planned_epochs,
    planned_longer,
    race_epochs,
    rungs,
    trainings,
    untouched_trainings,
    with_epochs,
)
from dashfx.train.length import Bounds, bounds_of


def config(epochs: int = 60, more: dict[str, Any] | None = None, **finalists: Any) -> RunConfig:
    return RunConfig.parse(
        {"search": {"strategy": "dash"}, "retrain": {"epochs": epochs}, "finalists": finalists, **(more or {})}
    )


def full(config: RunConfig) -> Bounds:
    return bounds_of(config.retrain, 640)


def of(config: RunConfig, proposals: int) -> list[tuple[int, int, int]]:
    found = rungs(config, full(config), proposals)
    assert [rung.number for rung in found] == list(range(1, len(found) + 1))
    return [(rung.entrants, rung.epochs, rung.kept) for rung in found]


def plan(config: RunConfig, *more: Any, **named: Any) -> dict[str, float]:
    return planned_epochs(config, full(config), *more, **named)


def longest(config: RunConfig, *more: Any, **named: Any) -> float:
    return planned_longer(config, full(config), *more, **named)


def controls(config: RunConfig, *more: Any) -> float:
    return untouched_trainings(config, full(config), *more)


def searched(config: RunConfig, *more: Any) -> float:
    return trainings(config, full(config), *more)


def test_three_proposals_race_once_by_a_sixth_of_a_training() -> None:
    assert of(config(), 3) == [(3, 10, 1)] and race_epochs(config(), full(config()), 3) == 30


def test_a_rung_before_is_three_times_shorter_and_keeps_a_third() -> None:
    assert of(config(180), 9) == [(9, 10, 3), (3, 30, 1)]
    assert of(config(180), 10) == [(10, 3, 4), (4, 10, 2), (2, 30, 1)]
    assert of(config(180, halving=2, share=0.25), 4) == [(4, 22, 2), (2, 45, 1)]


def test_without_more_proposals_than_finalists_there_is_no_rung() -> None:
    assert of(config(), 1) == [] and of(config(count=3), 3) == []
    assert of(config(count=2), 3) == [(3, 10, 2)]


def test_rungs_too_short_to_differ_are_one() -> None:
    assert of(config(6), 9) == [(9, 1, 1)]
    assert of(config(1), 2) == [(2, 1, 1)]


def test_rungs_of_a_length_that_validation_finds_are_shares_of_the_usual_one() -> None:
    auto = RunConfig.parse({"retrain": {"batch_size": 64}})
    bounds = full(auto)  # ten steps an epoch
    assert of(auto, 3) == [(3, round(bounds.usual / 6), 1)]
    short = with_epochs(auto, 25).retrain
    assert (short.epochs, short.schedule) == (25, "warmup-stable-decay")
    assert with_epochs(config(), 25).retrain.schedule == config().retrain.schedule
    assert plan(auto, 3)["retrain"] == bounds.most > bounds.usual


def test_longer_trainings_take_the_work_that_is_to_be_taken() -> None:
    assert lengthened(60, 100.0, 250.0) == 150 and lengthened(60, 0.0, 250.0) == 60


def test_the_plan_names_every_training() -> None:
    plain = {"search": {"strategy": "evolution", "epochs": 30}}  # trains no supernet
    assert plan(config(more=plain)) == {"retrain": 60, "control": 60}
    many = config(more={**plain, "random_control": True}, count=2, seeds=3, wider={"width": 8}, refit=True)
    assert plan(many, 3) == {
        "race": 30,
        "retrain": 360,
        "control": 180,
        "random": 180,
        "control-wider": 180,
        "control-longer": 3 * 130,  # two finalists of 60 epochs, and a third of the race
        "refit": 130,  # where the longer one is kept
    }
    assert plan(many, 3, longer=70)["control-longer"] == 210
    assert "control-longer" not in plan(many, 3, longer=0)
    assert "control-longer" not in plan(config(longer=False), 3)
    assert plan(config(longer=False, refit=True), 3)["refit"] == 60 == plan(many, 3, longer=0)["refit"]


def test_a_longer_model_takes_the_search_the_rungs_and_the_others() -> None:
    assert longest(config(), 1, supernet=2.0) == 60 + 2 * 30
    assert longest(config(seeds=2), 3, supernet=2.0) == 60 + (2 * 30 + 30) / 2
    assert controls(config(), 1, 2.0) == 1 + 2 and controls(config(longer=False), 1, 2.0) == 1
    assert controls(config(more={"control": False}), 1) == 0


def test_a_longer_model_takes_what_the_searched_ones_cost_and_the_recipe_that_lost() -> None:
    many = config(count=2, longer=True)
    assert longest(config(count=2), 3, supernet=2.0, choice=3.0) == 3 * 60  # what is trained without being asked to
    assert longest(many, 3, supernet=2.0, choice=3.0) == 3 * (60 + 60 + 30) + 2 * 30
    both = config(more={"tune": {"trials": 2}})
    assert longest(both, 1, supernet=2.0) == 60 + 60 + 2 * 30
    assert longest(config(more={"tune": {"trials": 2, "finalist": False}}), 1, supernet=2.0) == 60 + 2 * 30
    assert plan(many, 3, 2.0, 3.0)["control-longer"] == longest(many, 3, supernet=2.0, choice=3.0)
    assert controls(many, 3, 2.0, 3.0) == 1 + (3 * (60 + 60 + 30) + 2 * 30) / 60


def test_a_share_of_a_budget_is_enough_for_the_longer_model_of_that_share() -> None:
    """Of a length that validation finds a budget gives the usual one, which is then the most."""
    options = {"search": {"strategy": "dash", "epochs": 50}, "retrain": {"batch_size": 64}, "finalists": {"count": 2}}
    whole = RunConfig.parse(options)
    usual = full(whole).usual
    given = RunConfig.parse({**options, "search": {"strategy": "dash", "epochs": 10}})
    shorter = Bounds(usual // 5, usual // 5, usual // 5)
    assert full(whole).most > usual and not usual % 5
    longer = planned_longer(given, shorter, 2, 2.0)
    assert controls(whole, 2, 2.0) * usual / 5 == pytest.approx(usual / 5 + longer)


def test_trainings_count_seeds_and_shares() -> None:
    assert searched(config()) == 1 and searched(config(), 3) == 1.5
    assert searched(config(count=2, seeds=3, refit=True), 3) == 6 + 0.5
    assert searched(config(wider={"width": 8}, more={"random_control": True})) == 3


@pytest.mark.parametrize("wrong", [{"count": 0}, {"seeds": 0}, {"halving": 1}, {"share": 1.0}, {"longer": "perhaps"}])
def test_values_out_of_range_are_one_line(wrong: dict[str, Any]) -> None:
    from dashfx.errors import ConfigError

    with pytest.raises(ConfigError, match=f"finalists.{next(iter(wrong))}"):
        config(**wrong)
