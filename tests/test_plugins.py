"""Plug-ins: names, arguments, files of a user's, and one line for each mistake."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from dashfx.blackbox.optimisers.evolution import Evolution
from dashfx.config.run import RunConfig
from dashfx.config.search import FitConfig, SearchConfig
from dashfx.cost.counts import Span
from dashfx.errors import ConfigError
from dashfx.ops.relaxations import SoftGumbel, Softmax
from dashfx.plugins import HOMES, find, name_of, names_of, split
from dashfx.stages.evaluators import BySupernet, ByTable
from dashfx.strategies.base import Control
from dashfx.strategies.evaluated.blackbox import BlackBox
from dashfx.strategies.gradient import DASH, Gradient
from dashfx.strategies.ladder import Ladder
from dashfx.strategies.named import STRATEGIES, strategy_of, text_of
from dashfx.strategies.rules import Energy, RandomChoice, Untouched
from dashfx.strategies.updates import FirstOrder

MINE = """
from dataclasses import dataclass

from dashfx.ops import AggConv
from dashfx.strategies.rules import Energy, ScoreRule

READY = Energy(0.7)


@dataclass(frozen=True)
class Mine(ScoreRule):
    much: float
    name: str = "mine"

    def scores(self, aggconv: AggConv):
        return self.much * aggconv.coefficients()


class Half(ScoreRule):
    pass


class Other:
    pass


def schedule(progress, config, *, floor: float = 0.5):
    return max(floor, 1 - progress)
"""


@pytest.fixture
def mine(tmp_path: Path) -> str:
    (tmp_path / "mine.py").write_text(MINE)
    return str(tmp_path / "mine.py")


@pytest.mark.parametrize("kind", HOMES)
def test_every_kind_makes_what_its_dict_names(kind: str, tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text('{"rows": [{"genotype": {"a": "3,1"}, "valid": 1}]}')
    needed = {
        "patience": ":epochs=2",
        "shrink": ":share=0.1",
        "count": ":sites=2",
        "prune-by-importance": f":rows={tmp_path}/t.json",
        "prune-by-norms": f":rows={tmp_path}/t.json",
        "widen": ":at=conv1,to=8",
        "deepen": ":at=conv1",
        "enlarge": ":at=conv1,kernel=5",
        "branch": ":at=conv1",
    }
    names = [name for name in names_of(kind) if not name.startswith(".")]
    assert names
    for name in names:
        found = find(kind, name + needed.get(name, ""))
        assert find(kind, found) is found
    with pytest.raises(ConfigError, match=f"no {kind} 'nonesuch'; there are {names[0]}.*, or give file.py:Class"):
        find(kind, "nonesuch")


def test_arguments_are_read_as_yaml_and_checked() -> None:
    assert find("rule", "energy:keep=0.8") == Energy(0.8)
    assert find("relaxation", "soft-gumbel:tau=2,end=1e-1") == SoftGumbel(2, 0.1)
    assert find("optimiser", " evolution:population=9, tournament=3") == Evolution(9, 3)
    assert find("cost", "span") == Span()
    assert find("schedule", "steps:factor=0.5")(0.5, FitConfig(milestones=(0.2, 0.4))) == 0.25
    assert split("rule", "a:b=[1,2],c=x:y") == ("a", {"b": [1, 2], "c": "x:y"})


def test_the_first_argument_may_stand_without_its_name() -> None:
    assert find("rule", "energy:0.8") == Energy(0.8)
    assert find("optimiser", "evolution:9, tournament=3") == Evolution(9, 3)
    assert find("strategy", "surrogate:gp,acquire=ei") == find("strategy", "surrogate:predictor=gp,acquire=ei")


def test_defaults_go_to_those_who_take_them() -> None:
    assert find("relaxation", "softmax", tau=3.0, seed=1) == Softmax(3.0)
    assert find("relaxation", "softmax:tau=2", tau=3.0) == Softmax(2.0)


@pytest.mark.parametrize(
    ("kind", "text", "said"),
    [
        ("rule", "enrgy", r"no rule 'enrgy' \(did you mean 'energy'\?\)"),
        ("rule", "energy:kep=1", r"no argument 'kep' \(did you mean 'keep'\?\); it takes keep"),
        ("rule", "argmax:keep=1", "no argument 'keep'; it takes none"),
        ("rule", "energy:keep=much", "argument 'keep': input should be a valid number.*got 'much'"),
        ("rule", "energy:keep=2", "argument 'keep': input should be less than or equal to 1, got 2"),
        ("relaxation", "soft-gumbel:tau=0", "argument 'tau': input should be greater than 0, got 0"),
        ("cost", "span:3", "write name:key=value"),
        ("rule", "energy:keep=[", "an open bracket"),
        ("monitor", "patience", "needs an argument 'epochs': write patience:epochs=VALUE"),
        ("optimiser", "evolution:population=4,tournament=5", "a tournament of 5 out of a population of 4"),
        ("schedule", "cosine:floor=1", "no argument 'floor'; it takes none"),
    ],
)
def test_a_mistake_is_one_line(kind: str, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as raised:
        find(kind, text)
    assert "\n" not in str(raised.value)


def test_a_users_file_is_a_name_like_any_other(mine: str) -> None:
    found = find("rule", f"{mine}:Mine:much=3")
    assert (found.much, found.name, type(found).__name__) == (3.0, "mine", "Mine")
    assert find("rule", f"{mine}:READY") == Energy(0.7)
    assert find("schedule", f"{mine}:schedule:floor=0.9")(0.5, FitConfig()) == 0.9
    assert name_of("rule", found) == "Mine" and name_of("rule", Energy()) == "energy"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{}:Mine", "needs an argument 'much'"),
        ("{}:Mine:much=lots", "argument 'much': input should be a valid number"),
        ("{}:Mein:much=1", "has no 'Mein' .*did you mean 'Mine'"),
        ("{}:Half", "cannot be made: the class leaves out scores"),
        ("{}:Other", "is no rule: it must be a subclass of dashfx.strategies.rules.SelectionRule"),
        ("{}:READY:keep=1", "is an object already and takes no arguments"),
        ("none.py:Mine", "no such file"),
    ],
)
def test_a_users_mistake_is_one_line(mine: str, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as raised:
        find("rule", text.format(mine))
    assert "\n" not in str(raised.value)


def test_a_file_of_values_is_found_by_how_its_name_ends(tmp_path: Path) -> None:
    (tmp_path / "known.json").write_text('{"rows": [{"genotype": {"a": "3,1"}, "valid": 1}]}')
    assert find("evaluator", str(tmp_path / "known.json")) == ByTable(str(tmp_path / "known.json"))


def config(search: Any = None, **more: Any) -> RunConfig:
    return RunConfig.parse({"search": search or {}, **more})


def test_text_becomes_a_strategy_in_one_place(mine: str) -> None:
    assert Gradient() == DASH and strategy_of(config({"strategy": "dash"})) == DASH
    assert strategy_of(config()) == Ladder(multiscale=False, strict=False)
    first = strategy_of(config({"update": "first-order", "rule": "energy:keep=0.5", "tau": [2, 1]}))
    assert first == Gradient(SoftGumbel(2, 1), FirstOrder(), Energy(0.5))
    assert strategy_of(config({"relaxation": "softmax:tau=2"})) == Gradient(Softmax(2))
    assert strategy_of(config({"strategy": "random"}, seed=3)) == Control(RandomChoice(3))
    assert strategy_of(config({"strategy": "random:seed=1"}, seed=3)) == Control(RandomChoice(1))
    assert strategy_of(config({"strategy": "untouched"})) == Control(Untouched())
    evolved = strategy_of(config({"strategy": "evolution:tournament=2"}, blackbox={"population": 7}))
    assert isinstance(evolved, BlackBox) and evolved.optimiser == Evolution(7, 2) and evolved.training is None
    shared = strategy_of(config({"strategy": "local", "update": "first-order"}, blackbox={"evaluator": "supernet"}))
    assert shared.evaluator == BySupernet(Gradient(update=FirstOrder())) and shared.training is not None
    own = strategy_of(config({"strategy": f"{mine}:Mine:much=2"}))
    assert isinstance(own, Control) and own.is_control and own.origin == "mine"
    with pytest.raises(ConfigError, match="is no strategy, optimiser or rule"):
        strategy_of(config({"strategy": f"{mine}:Other"}))


@pytest.mark.parametrize("name", STRATEGIES)
@pytest.mark.parametrize("evaluator", ["params", "supernet"])
def test_what_names_tell_is_what_the_objects_say(name: str, evaluator: str) -> None:
    made = config({"strategy": name}, blackbox={"evaluator": evaluator})
    for text in (name, text_of(strategy_of(made))):
        told, known = config({"strategy": text}, blackbox={"evaluator": evaluator}), strategy_of(made)
        assert (told.search.is_control, told.search.judges_mixtures) == (known.is_control, known.judges_mixtures)
        assert told.trains_supernet == (known.training is not None)


def test_an_object_from_python_is_known_by_its_class_alone() -> None:
    text = text_of(Gradient(rule=Energy(0.5)))
    assert text.startswith("Gradient(") and "Energy(keep=0.5)" in text and text.endswith(" from Python")
    again = strategy_of(config({"strategy": text}))
    assert again.judges_mixtures and again.training is not None
    with pytest.raises(ConfigError, match="was given from Python"):
        again.check(config())


def test_alpha_on_of_earlier_versions_is_update() -> None:
    assert SearchConfig.parse({"alpha_on": "held-out"}).update == "first-order"
    assert SearchConfig.parse({"alpha_on": "train", "update": "one-level"}) == SearchConfig()
    assert "alpha_on" not in yaml.safe_load(RunConfig.parse({"search": {"alpha_on": "train"}}).to_yaml())["search"]
    for wrong in ({"alpha_on": "both"}, {"alpha_on": "train", "update": "first-order"}):
        with pytest.raises(ConfigError, match=r"alpha_on.* is called update"):
            SearchConfig.parse(wrong)
