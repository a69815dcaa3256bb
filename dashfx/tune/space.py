"""A run's options go in; what tuning varies comes out, an option a dimension, and the options that its values make."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import optuna
from torch import nn

from dashfx.config.base import Strict
from dashfx.config.run import RetrainConfig, RunConfig
from dashfx.config.search import FROM_PYTHON
from dashfx.config.tuning import RangeConfig
from dashfx.errors import ConfigError, did_you_mean
from dashfx.plugins import find
from dashfx.train.recipe import check_recipe, dropouts

Dimension = RangeConfig | tuple[Any, ...]

# Shen, Khodak and Talwalkar (NeurIPS 2022): the grid of all ten tasks, 24 trainings by SGD.
PAPER: dict[str, Dimension] = {
    "lr": (0.1, 0.01, 0.001),
    "dropout": (0.0, 0.05),
    "weight_decay": (5e-4, 5e-6),
    "momentum": (0.9, 0.99),
}
NOT_TUNED = ("epochs", "fraction", "patience", "compile", "channels_last")  # what a trial costs, not how well it learns


def dimensions(config: RunConfig, model: nn.Module) -> dict[str, Dimension]:
    """What is tuned: `tune.space`, or else the paper's grid, or ranges around the options of retraining.

    Raises:
        ConfigError: an option that cannot be tuned, a value that it cannot have, or a range in a grid.
    """
    given = config.tune.space
    space = dict(given or (PAPER if config.tune.sampler == "grid" else around(config.retrain)))
    if "dropout" in space and not dropouts(model):
        if given:
            raise ConfigError(
                "tune.space 'dropout' sets the probability of dropout layers, and the model has none; "
                "tune an argument of its class as model_args.NAME"
            )
        del space["dropout"]
    if not given and config.tune.sampler != "grid" and len(probabilities(config, model)) > 1:
        space.pop("dropout", None)  # one probability for all layers would leave out the model as it is
    check_choices(space, config)
    return space


def check_choices(space: Mapping[str, Dimension], config: RunConfig) -> None:
    """Whether each dimension is an option of retraining, and can have its values.

    Raises:
        ConfigError: one that is not, or cannot.
    """
    for name, choices in space.items():
        _check(name, choices, config)


def around(retrain: RetrainConfig) -> dict[str, Dimension]:
    """Ranges of a factor of ten to both sides of the rate, of a hundred downwards for the decay."""
    decay = retrain.weight_decay or 1e-4
    return {
        "lr": RangeConfig(low=retrain.lr / 10, high=retrain.lr * 10, log=True),
        "weight_decay": RangeConfig(low=decay / 100, high=decay * 10, log=True),
        "momentum": RangeConfig(low=min(0.8, retrain.momentum), high=0.99),
        "dropout": RangeConfig(low=0.0, high=0.5),
    }


def _check(name: str, choices: Dimension, config: RunConfig) -> None:
    known = (*RetrainConfig.model_fields, "augment", "rule")
    if name.partition(".")[0] not in known:
        raise ConfigError(f"tune.space: no option {name!r} of retraining{did_you_mean(name, known)}")
    if name in NOT_TUNED:
        raise ConfigError(f"tune.space {name!r}: it says what a trial costs; tune lr, weight_decay, batch_size, ...")
    if name == "rule" and (not config.search.judges_mixtures or config.search.strategy.endswith(FROM_PYTHON)):
        raise ConfigError(
            f"tune.space 'rule' needs strategy dash, whose mixtures a rule reads, not {config.search.strategy}"
        )
    if name == "rule" and config.search.seeds > 1:
        raise ConfigError(
            f"tune.space 'rule' reads the mixtures of one search, and search.seeds={config.search.seeds} trains "
            "several; leave one of the two out"
        )
    if isinstance(choices, RangeConfig):
        if config.tune.sampler == "grid":
            raise ConfigError(f"tune.space {name!r}: a grid needs a list of values, or take tune.sampler=tpe")
        choices = (choices.low, choices.high)
    if not choices:
        raise ConfigError(f"tune.space {name!r}: give at least one value")
    for value in choices:
        check_recipe(with_values(config, {name: value}).retrain)
        if name == "rule" and find("rule", value).judged and value != config.search.rule:
            raise ConfigError(
                f"tune.space 'rule': {value!r} measures losses on rows that the search must hold out for it, and this "
                f"one's rule is {config.search.rule}; leave it out, or search with it"
            )


def with_values(config: RunConfig, values: Mapping[str, Any]) -> RunConfig:
    """The options with those that a trial had, or the best one.

    Raises:
        ConfigError: no such option, or a value that it cannot have.
    """
    options = config.model_dump()
    for name, value in values.items():
        block = options if name == "augment" else options["search" if name == "rule" else "retrain"]
        outer, _, inner = name.partition(".")
        if inner:
            block[outer] = {**(block.get(outer) or {}), inner: value}
        else:
            block[name] = value
    return RunConfig.parse(options)


def suggest(trial: optuna.Trial, space: Mapping[str, Dimension]) -> dict[str, Any]:
    """A value for each dimension, drawn by the study's sampler."""
    values: dict[str, Any] = {}
    for name, choices in space.items():
        if isinstance(choices, tuple):
            values[name] = trial.suggest_categorical(name, choices)
        elif isinstance(choices.low, int) and isinstance(choices.high, int):
            values[name] = trial.suggest_int(name, choices.low, choices.high, log=choices.log)
        else:
            values[name] = trial.suggest_float(name, choices.low, choices.high, log=choices.log)
    return values


def present(space: Mapping[str, Dimension], config: RunConfig, model: nn.Module) -> dict[str, Any] | None:
    """The values that hold without tuning, as a trial's; None where they are not all in the space."""
    values: dict[str, Any] = {}
    for name, choices in space.items():
        value: Any = getattr(_block(config, name), name, None)
        if name == "dropout" and len(own := probabilities(config, model)) == 1:
            (value,) = own
        inside = value in choices if isinstance(choices, tuple) else value is not None and _within(choices, value)
        if not inside:
            return None
        values[name] = value
    return values


def is_plain(values: Mapping[str, Any], config: RunConfig, model: nn.Module) -> bool:
    """Whether the options with these values are the options as they are, for a model with its own dropout layers."""
    own = probabilities(config, model)
    varied = {name: value for name, value in values.items() if name != "dropout" or own != {value}}
    return with_values(config, varied) == config


def probabilities(config: RunConfig, model: nn.Module) -> set[float]:
    """With which the model's dropout layers are retrained."""
    return {layer.p for layer in dropouts(model)} if config.retrain.dropout is None else {config.retrain.dropout}


def _block(config: RunConfig, name: str) -> Strict:
    """Where an option that can be tuned stands."""
    blocks: dict[str, Strict] = {"rule": config.search, "augment": config}
    return blocks.get(name, config.retrain)


def _within(choices: RangeConfig, value: float) -> bool:
    return choices.low <= value <= choices.high
