"""Preflight checks: a budget of wall time is for strategies whose work is counted in epochs."""

from __future__ import annotations

import pytest

from dashfx.config.run import RunConfig
from dashfx.errors import ConfigError
from dashfx.run.preflight import check_search


def config(evaluator: str) -> RunConfig:
    search = {"strategy": "evolution"}
    return RunConfig.parse({"search": search, "blackbox": {"evaluator": evaluator}, "budget": "1h", "device": "cpu"})


def test_a_budget_divides_the_epochs_of_a_supernet_and_no_evaluations() -> None:
    check_search(config("supernet"))
    with pytest.raises(ConfigError, match="strategy evolution by gennas counts evaluations"):
        check_search(config("gennas"))
