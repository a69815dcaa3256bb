"""Effort and the strategy of a run that names none: what a user says wins, one option at a time."""

from __future__ import annotations

from typing import Any

import pytest

from dashfx.config.run import RunConfig
from dashfx.errors import ConfigError

LADDER = "ladder:multiscale=false,strict=false"


@pytest.mark.parametrize(
    ("options", "strategy"),
    [
        ({}, LADDER),
        ({"search": {"strategy": "auto"}}, LADDER),
        ({"space": {"preset": "dash1d"}, "retrain": {"epochs": 3}}, LADDER),
        ({"search": {"epochs": 5}}, "dash"),
        ({"search": {"strategy": "auto", "rule": "energy"}}, "dash"),
        ({"search": {"budgets": ["latency=0.7x"]}}, "dash"),
        ({"space": {"kernels": [3]}}, "dash"),
        ({"space": {"dilations": [1, 2]}}, "dash"),
        ({"checkpoint": "net.pt"}, "dash"),
        ({"preset": "ecg"}, "dash"),
        ({"search": {"strategy": "evolution", "epochs": 5}}, "evolution"),
        ({"search": {"strategy": "ladder"}, "space": {"kernels": [3]}}, "ladder"),
        ({"effort": "quick"}, "ladder:most=1"),
        ({"effort": "quick", "search": {"strategy": "dash"}}, "dash"),
        ({"effort": "thorough"}, LADDER),
    ],
)
def test_strategy_of_a_run(options: dict[str, Any], strategy: str) -> None:
    config = RunConfig.parse(options)
    assert config.search.strategy == strategy
    assert RunConfig.parse(config.model_dump(mode="json")) == config  # as its folder has it


def test_what_the_ladder_trains_is_averaged_unless_told_otherwise() -> None:
    def counts(**options: Any) -> tuple[object, int]:
        ensemble = RunConfig.parse(options).ensemble
        return ensemble.count, ensemble.wanted

    assert counts() == counts(effort="quick") == ("auto", 2) and counts(effort="thorough") == (3, 3)
    assert counts(ensemble={"count": 0}) == counts(search={"epochs": 5}) == (0, 0)
    assert counts(search={"strategy": "ladder"}) == (0, 0) and counts(ensemble={"count": 5}) == (5, 5)


def test_what_is_said_wins_over_the_effort() -> None:
    thorough = RunConfig.parse({"effort": "thorough", "finalists": {"seeds": 1}, "tune": {"trials": 2}})
    assert (thorough.finalists.seeds, thorough.finalists.count, thorough.finalists.refit) == (1, 2, True)
    assert (thorough.tune.trials, thorough.ensemble.count) == (2, 3)
    assert RunConfig.parse({}).finalists.count == 1 and RunConfig.parse({"effort": "default"}) == RunConfig.parse({})


def test_an_effort_that_is_none_is_one_line() -> None:
    with pytest.raises(ConfigError, match=r"option 'effort': .*'quick', 'default' or 'thorough'"):
        RunConfig.parse({"effort": "much"})


def test_other_options_of_the_ensemble_leave_it_its_members() -> None:
    assert RunConfig.parse({"ensemble": {"share": 0.3}}).ensemble.count == "auto"
    assert RunConfig.parse({"ensemble": {"distil": True}}).ensemble.distil
    assert RunConfig.parse({"ensemble": {"count": 0, "share": 0.3}}).ensemble.count == 0
    assert RunConfig.parse({"ensemble": {"share": 0.3}, "search": {"strategy": "dash"}}).ensemble.count == 0
