"""Plan of a study: its runs and their options, what is refused, and what its file says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dashfx.errors import ConfigError, DashfxError, RunFolderError
from dashfx.study.plan import FILE, Plan, Trial, names_in, same_options

OPTIONS = {"model": "net.py:Net", "data": "digits", "seed": 4, "retrain": {"epochs": 5}}


def plan(*methods: str, **more: Any) -> Plan:
    return Plan(methods or ("dash",), **{"seeds": 2, "random": 5, "options": OPTIONS, **more})


def test_controls_are_always_there_and_come_first() -> None:
    found = plan("dash", "random", "untouched", "darts-pt")
    assert found.methods == ("dash", "darts-pt") and found.rows == ("dash", "darts-pt", "random", "untouched")
    trials = list(found.trials())
    assert [t.name for t in trials[:4]] == ["untouched-4", "random-4", "dash-4", "darts-pt-4"]
    assert len(trials) == len(set(trials)) == 3 * 2 + 5
    assert [t.seed for t in found.of("random")] == [4, 5, 6, 7, 8] and [t.seed for t in found.of("dash")] == [4, 5]


@pytest.mark.parametrize("method", ["dash", "evolution", "random", "untouched", "ladder"])
def test_all_have_the_same_training(method: str) -> None:
    usual, config = plan().config(Trial("untouched", 4)), plan(method, "gaea").config(Trial(method, 4))
    assert config.retrain == usual.retrain and config.retrain.weights == "fresh" and config.retrain.epochs == 5
    assert (config.control, config.random_control, config.finalists.longer) == (False, False, False)
    assert (config.ensemble.wanted, config.finalists.trainings, config.seed, config.method) == (0, 1, 4, method)


def test_a_methods_own_options_are_not_to_be_changed() -> None:
    options = {**OPTIONS, "search": {"strategy": "evolution", "update": "one-level", "epochs": 3}}
    config = plan("darts", options=options).config(Trial("darts", 4))
    assert (config.search.strategy, config.search.update, config.search.epochs) == ("dash", "unrolled", 3)


def test_all_start_from_the_checkpoint_where_there_is_one() -> None:
    config = plan(options={**OPTIONS, "checkpoint": "net.pt"}).config(Trial("random", 4))
    assert config.retrain.weights == "pretrained"
    given = {**OPTIONS, "retrain": {"weights": "inherit"}}
    assert plan(options=given).config(Trial("dash", 4)).retrain.weights == "inherit"  # the table has what that cost


@pytest.mark.parametrize(
    ("more", "match"),
    [
        ({"methods": ("drats",)}, "no method 'drats'"),
        ({"methods": ("dash", "dash")}, "twice"),
        ({"methods": ("random",)}, "nothing to compare"),
        ({"methods": ()}, "nothing to compare"),
        ({"seeds": 0}, "--seeds 0"),
        ({"random": 4}, "fewer than 5"),
    ],
)
def test_plans_that_tell_nothing_are_refused(more: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        Plan(**{"methods": ("dash",), "options": OPTIONS, **more})


@pytest.mark.parametrize(
    "more",
    [
        {"tune": {"trials": 2}},
        {"effort": "thorough"},
        {"finalists": {"refit": True}},
        {"finalists": {"count": 2}},
        {"finalists": {"wider": {"width": 8}}},
        {"ensemble": {"count": 2}},
        {"budget": "1h"},
    ],
)
def test_unequal_training_is_refused(more: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="equal training"):
        plan(options={**OPTIONS, **more}).config(Trial("dash", 4))


def test_a_block_that_is_none_is_one_line() -> None:
    with pytest.raises(DashfxError, match="finalists"):
        plan(options={**OPTIONS, "finalists": 3}).config(Trial("dash", 4))


def test_its_file_says_it_again(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(plan().to_yaml())
    assert Plan.load(tmp_path) == plan()
    same_options(plan(), dict(OPTIONS), tmp_path)
    with pytest.raises(RunFolderError, match=r"other options \(retrain\)"):
        same_options(plan(), {**OPTIONS, "retrain": {"epochs": 6}}, tmp_path)


@pytest.mark.parametrize("text", ["methods: [", "methods: [dash]\n", "methods: 3\nseeds: 2\nrandom: 5\noptions: {}\n"])
def test_a_damaged_file_is_one_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(RunFolderError, match="no study's folder"):
        Plan.load(tmp_path)
    (tmp_path / FILE).write_text(text)
    with pytest.raises(RunFolderError, match="damaged"):
        Plan.load(tmp_path)


def test_names_apart_by_commas() -> None:
    assert names_in(" dash, darts-pt,,gaea ") == ("dash", "darts-pt", "gaea")
