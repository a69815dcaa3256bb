"""Methods by name: each is a combination that a run can have, what a user says wins, contradictions are one line."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from dashfx.blackbox.named import OPTIMISERS
from dashfx.config.methods import METHODS, kind_of, over
from dashfx.config.run import LADDER, RunConfig
from dashfx.errors import ConfigError
from dashfx.run.preflight import check_search
from dashfx.strategies.evaluated.blackbox import BlackBox
from dashfx.strategies.gradient import DASH, Gradient
from dashfx.strategies.named import strategy_of
from dashfx.strategies.rules import Argmax
from dashfx.strategies.updates import FirstOrder, Unrolled


@pytest.mark.parametrize("name", METHODS)
def test_every_method_is_a_search_that_can_be_run(name: str) -> None:
    config = RunConfig.parse({"method": name, "device": "cpu"})
    limits = ("params=2x",) if "--max" in METHODS[name].needs else ()
    check_search(config.model_copy(update={"search": config.search.model_copy(update={"budgets": limits})}))
    assert RunConfig.parse(config.model_dump(mode="json")) == config  # as its folder has it
    for block, own in METHODS[name].options.items():
        said = getattr(config, block).model_dump(mode="json")
        assert {key: said[key] for key in own} == own
    assert METHODS[name].line.endswith(".")


@pytest.mark.parametrize("name", METHODS)
def test_its_lines_are_its_options(name: str) -> None:
    assert yaml.safe_load(METHODS[name].to_yaml()) == METHODS[name].options


@pytest.mark.parametrize("name", METHODS)
def test_a_search_of_ones_own_by_its_lines_is_the_same(name: str) -> None:
    by_name = RunConfig.parse({"method": name, "search": {"epochs": 4}})
    by_lines = RunConfig.parse({**METHODS[name].options, "search": {**METHODS[name].options["search"], "epochs": 4}})
    assert by_name.model_copy(update={"method": None}) == by_lines


def test_methods_differ() -> None:
    found = [str({key: dict(block) for key, block in each.options.items()}) for each in METHODS.values()]
    assert len(set(found)) == len(found)


def test_some_are_what_their_papers_say() -> None:
    def of(name: str) -> Any:
        return strategy_of(RunConfig.parse({"method": name}))

    assert of("dash") == DASH == strategy_of(RunConfig.parse({"search": {"strategy": "dash"}}))
    assert of("darts").update == Unrolled() and of("darts-first-order").update == FirstOrder()
    assert of("darts-pt").rule.judged and isinstance(of("gdas").rule, Argmax)
    assert not of("gaea").relaxation.logits and isinstance(of("gaea"), Gradient)
    assert of("r-darts").monitors[0].returns == 3
    assert isinstance(of("evolution"), BlackBox) and of("evolution").optimiser.population == 20
    assert METHODS["ladder"].options["search"]["strategy"] == LADDER
    assert RunConfig.parse({"method": "ladder"}).ensemble.wanted == 0  # one training, as every method has


def test_dash_by_name_is_dash() -> None:
    plain = RunConfig.parse({"search": {"strategy": "dash"}})
    assert RunConfig.parse({"method": "dash"}).model_copy(update={"method": None}) == plain


def test_optimisers_by_short_trainings_are_methods() -> None:
    assert {"evolution", "local"} <= OPTIMISERS.keys() & METHODS.keys()


def test_those_that_need_budgets_say_so_before_training() -> None:
    with pytest.raises(ConfigError, match="--max"):
        check_search(RunConfig.parse({"method": "rc-darts", "device": "cpu"}))


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ({"search": {"rule": "energy"}}, {"rule": "energy", "update": "unrolled"}),
        ({"search": {"strategy": "auto", "epochs": 3}}, {"strategy": "dash", "update": "unrolled", "epochs": 3}),
        ({"search": {"strategy": "dash"}}, {"strategy": "dash", "held_out": 0.5}),
        ({}, {"update": "unrolled", "cost_weight": 0.0}),
        ({"effort": "quick"}, {"strategy": "dash", "update": "unrolled"}),
        ({"checkpoint": "net.pt"}, {"init": "grow", "lr": 0.01, "update": "unrolled"}),
        ({"preset": "ecg"}, {"update": "unrolled", "alpha_optimizer": "adam:beta1=0.5", "epochs": 100}),
    ],
)
def test_what_is_said_wins(said: dict[str, Any], found: dict[str, Any]) -> None:
    search = RunConfig.parse({"method": "darts", **said}).search.model_dump()
    assert {key: search[key] for key in found} == found


def test_arguments_of_its_own_strategy_may_be_said() -> None:
    options = {"method": "ladder", "search": {"strategy": "ladder:by=stage"}}
    assert RunConfig.parse(options).search.strategy == "ladder:by=stage"
    assert kind_of("ladder:by=stage") == "ladder"


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"method": "drats"}, "no method 'drats'.*did you mean.*darts"),
        ({"method": 3}, "no method '3'"),
        ({"method": "darts", "search": {"strategy": "evolution"}}, "method 'darts' is strategy 'dash'.*'evolution'"),
        ({"method": "evolution", "search": {"strategy": "dash"}}, "leave one of the two"),
        ({"method": "darts", "search": "fast"}, "search"),
        ({"method": "darts", "search": {"strategy": 3}}, "strategy"),
    ],
)
def test_what_cannot_be_is_one_line(options: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigError, match=match) as caught:
        RunConfig.parse(options)
    assert "\n" not in str(caught.value)


def test_a_method_goes_over_a_file() -> None:
    file = RunConfig.parse({"method": "evolution", "seed": 4, "search": {"epochs": 2}}).model_dump(mode="json")
    found = RunConfig.parse(over(file, "gaea"))
    assert (found.search.strategy, found.search.alpha_optimizer, found.seed) == ("dash", "expgrad", 4)
    assert found.search.epochs == 2
    with pytest.raises(ConfigError, match="no method"):
        over({}, "gaeaa")
