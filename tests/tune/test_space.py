"""What is tuned: by default, by the paper, by the user; and what cannot be."""

from __future__ import annotations

from typing import Any

import pytest
from torch import nn
from toys import ToyNet

from dashfx.config.run import RunConfig
from dashfx.errors import DashfxError
from dashfx.tune.space import PAPER, dimensions, present, with_values
from dashfx.tune.study import planned

BARE = nn.Sequential(nn.Conv1d(2, 4, 3))


def config(**tune: Any) -> RunConfig:
    return RunConfig.parse({"tune": {"trials": 3, **tune}})


def test_the_papers_grid_has_24_trainings_with_dropout_and_12_without() -> None:
    assert dimensions(config(sampler="grid"), ToyNet()) == PAPER
    assert set(dimensions(config(sampler="grid"), BARE)) == {"lr", "weight_decay", "momentum"}


def test_ranges_hold_what_is_configured() -> None:
    assert present(dimensions(config(), ToyNet(dropout=0.2)), config(), ToyNet(dropout=0.2)) == {
        "lr": 3e-3,
        "weight_decay": 0.01,
        "momentum": 0.9,
        "dropout": 0.2,
    }
    space = dimensions(config(space={"lr": [0.5]}), BARE)
    assert present(space, config(), BARE) is None


def test_layers_of_different_dropout_keep_theirs_unless_a_grid_or_the_user_says_otherwise() -> None:
    mixed = nn.Sequential(nn.Conv1d(2, 4, 3), nn.Dropout(0.1), nn.Dropout(0.3))
    assert set(dimensions(config(), mixed)) == {"lr", "weight_decay", "momentum"}
    assert "dropout" in dimensions(config(sampler="grid"), mixed)
    space = dimensions(config(space={"dropout": {"low": 0.0, "high": 0.5}}), mixed)
    assert present(space, config(), mixed) is None  # no one value stands for the model as it is


@pytest.mark.parametrize(
    ("tune", "count"),
    [
        ({"trials": 3}, 3),
        ({"trials": 9, "sampler": "grid", "space": {"lr": [0.1, 0.2], "momentum": [0.5, 0.9]}}, 4),
        ({"trials": 0, "minutes": 1, "sampler": "grid", "space": {"lr": [0.1, 0.2]}}, 2),
        ({"trials": 0, "minutes": 1}, 0),
    ],
)
def test_how_many_trials_there_will_be(tune: dict[str, Any], count: int) -> None:
    options = RunConfig.parse({"tune": tune})
    assert planned(options.tune, dimensions(options, BARE)) == count


def test_values_become_options() -> None:
    made = with_values(
        RunConfig.parse({"retrain": {"weights": "fresh"}}), {"lr": 0.5, "rule": "energy", "model_args.width": 3}
    )
    assert (made.retrain.lr, made.search.rule, made.retrain.model_args) == (0.5, "energy", {"width": 3})
    assert made.search.lr == RunConfig().search.lr


def test_augmentation_is_one_of_them() -> None:
    space = dimensions(config(space={"augment": [None, "flip"]}), BARE)
    assert present(space, config(), BARE) == {"augment": None}
    assert with_values(config(), {"augment": "flip"}).augment == "flip"


BAD: list[tuple[dict[str, Any], str]] = [
    ({"space": {"learning": [1]}}, "no option 'learning' of retraining"),
    ({"space": {"agment": ["flip"]}}, "did you mean 'augment'"),
    ({"space": {"momentm": [0.9]}}, "did you mean 'momentum'"),
    ({"space": {"lr": [0.1, -1]}}, "'retrain.lr'"),
    ({"space": {"lr": []}}, "at least one value"),
    ({"space": {"epochs": [3]}}, "says what a trial costs"),
    ({"space": {"rule": ["bets"]}}, "did you mean 'best'|no rule 'bets'"),
    ({"space": {"rule": ["perturbation"]}}, "rows that the search must hold out for it"),
    ({"space": {"dropout": [0.1]}}, "the model has none; tune an argument"),
    ({"space": {"model_args.width": [3]}}, "set retrain.weights=fresh"),
    ({"space": {"lr": {"low": 1, "high": 0.1}}}, "a range needs low < high"),
    ({"space": {"lr": {"low": 0.1, "high": 1}}, "sampler": "grid"}, "a grid needs a list"),
    ({"halving": 1}, "one in one is no halving"),
]


@pytest.mark.parametrize(("tune", "words"), BAD, ids=[words[:20] for _, words in BAD])
def test_what_cannot_be_tuned(tune: dict[str, Any], words: str) -> None:
    with pytest.raises(DashfxError, match=words) as raised:
        dimensions(config(**tune), BARE)
    assert "\n" not in str(raised.value)


def test_a_rule_reads_the_mixtures_of_one_search() -> None:
    options = RunConfig.parse({"search": {"strategy": "dash", "seeds": 2}, "tune": {"space": {"rule": ["argmax"]}}})
    with pytest.raises(DashfxError, match=r"rule' reads the mixtures of one search, and search.seeds=2 trains several"):
        dimensions(options, BARE)


def test_a_rule_needs_mixtures() -> None:
    options = RunConfig.parse({"search": {"strategy": "random"}, "tune": {"space": {"rule": ["argmax"]}}})
    with pytest.raises(DashfxError, match=r"rule' needs strategy dash.* not random"):
        dimensions(options, BARE)
