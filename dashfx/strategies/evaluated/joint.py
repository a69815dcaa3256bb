"""Joint search: a network and the recipe that trains it are chosen together, by short and long trainings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from accelerate.utils import broadcast_object_list

from dashfx.blackbox.base import Optimiser, Row, best_of, optimise
from dashfx.blackbox.genomes import GenotypeSpace
from dashfx.blackbox.joint import Joint, Recipe, Recipes
from dashfx.config.run import RetrainConfig, RunConfig
from dashfx.config.tuning import RangeConfig
from dashfx.errors import ConfigError, TrainingError
from dashfx.genotype import Genotype
from dashfx.plugins import Count, find, name_of
from dashfx.strategies.base import Context, Evaluator, Strategy
from dashfx.strategies.evaluated.limited import limited
from dashfx.train.fit import derive_seed

LEVELS = 5  # values that stand for a range
FIXED = (
    "epochs",
    "max_epochs",
    "fraction",
    "weights",
    "model_args",
    "patience",
    "compile",
    "channels_last",
    "autotune",
)
Genome = tuple[Genotype, Recipe]


@dataclass(frozen=True)
class JointSearch(Strategy):
    """Networks and recipes side by side, each pair trained for some epochs; the best pair's recipe is a finalist too.

    The options are those of `tune.space`, and without it the rate and the decay of weights, a factor of ten to either
    side; of a range five values are tried.

    Args:
        optimiser: "bohb" or another one.
        epochs: of a whole evaluation; shorter ones have a share of them, one at least.
    """

    optimiser: Any = "bohb"
    epochs: Count = 3

    paper: ClassVar[str] = (
        "Zela et al., Towards Automated Deep Learning: Joint Architecture and Hyperparameter Search, 2018"
    )
    row: ClassVar[str] = "66"

    def __post_init__(self) -> None:
        object.__setattr__(self, "optimiser", find("optimiser", self.optimiser))

    @cached_property
    def evaluator(self) -> Evaluator:  # type: ignore[override]
        found: Evaluator = find("evaluator", "train", epochs=self.epochs)
        return found

    def plan(self, config: RunConfig) -> str:
        return (
            f"{self._name} over networks and {', '.join(recipes_of(config))}, {config.blackbox.evaluations} trainings"
        )

    def check(self, config: RunConfig) -> None:
        if config.tune.wanted:
            raise ConfigError("strategy joint finds the recipe with the network; leave --tune out, or search otherwise")
        if config.blackbox.costs or config.blackbox.start:
            raise ConfigError("strategy joint has one objective and no start; take nsga2 or linas for others")
        recipes_of(config)
        self.optimiser.check(config.blackbox.evaluations)

    def search(self, context: Context) -> Genotype:
        config, network = context.config, limited(GenotypeSpace.of(context.sites), context.limits)
        space = Joint(network, Recipes(recipes_of(config)))
        generator = torch.Generator().manual_seed(derive_seed(config.seed, "joint"))
        rows: list[Row[Genome]] = optimise(
            self.optimiser.begin(space, generator),
            lambda genomes, fidelity=1.0: self._values(context, genomes, fidelity),
            config.blackbox.evaluations,
            maximise=context.task.maximise,
            history=context.history(space),
            together=config.blackbox.together,
            on_row=lambda row: context.on_row(_of_network(row)),
        )
        best = best_of(rows)
        if best.value is None:
            raise TrainingError(f"none of {len(rows)} trainings gave a finite metric; search recipes of lower rates")
        context.found_recipe(rows, best, self.epochs)
        return replace(best.genome[0], rule=f"{self._name} over networks and recipes")

    def _values(self, context: Context, genomes: Sequence[Genome], fidelity: float) -> list[float]:
        """The best metric on the validation part of each network, trained by its recipe."""
        found: dict[Genome, float] = {}
        for recipe in dict.fromkeys(recipe for _, recipe in genomes):
            alike = [network for network, own in genomes if own == recipe]
            values = context.trained_values(alike, self._options(context.config, recipe, fidelity))
            found |= {(network, recipe): value for network, value in zip(alike, values, strict=True)}
        return list(broadcast_object_list([found[genome] for genome in genomes]))

    def _options(self, config: RunConfig, recipe: Recipe, fidelity: float) -> RetrainConfig:
        epochs = max(1, round(self.epochs * fidelity))
        return RetrainConfig.parse({**config.retrain.model_dump(), **dict(recipe), "epochs": epochs})

    @property
    def _name(self) -> str:
        optimiser: Optimiser = self.optimiser
        return name_of("optimiser", optimiser)


def _of_network(row: Row[Genome]) -> Row[Genotype]:
    """The row without its recipe."""
    network: Row[Any] = replace(row, genome=row.genome[0])  # type: ignore[arg-type]
    return network


def recipes_of(config: RunConfig) -> Mapping[str, tuple[Any, ...]]:
    """The values that each option of a recipe may have.

    Raises:
        ConfigError: an option that is none of a training's, or a value that it cannot have.
    """
    retrain = config.retrain
    usual = {
        "lr": RangeConfig(low=retrain.lr / 10, high=retrain.lr * 10, log=True),
        "weight_decay": RangeConfig(low=1e-5, high=max(0.1, retrain.weight_decay), log=True),
    }
    found = {name: _listed(values) for name, values in (config.tune.space or usual).items()}
    known = [name for name in RetrainConfig.model_fields if name not in FIXED]
    for name, values in found.items():
        if name not in known:
            raise ConfigError(
                f"strategy joint: {name!r} of tune.space is no option of a recipe; there are {', '.join(known)}"
            )
        for value in values:
            RetrainConfig.parse({**retrain.model_dump(), name: value})
    return found


def _listed(values: RangeConfig | tuple[Any, ...]) -> tuple[Any, ...]:
    """The values themselves, or evenly spaced ones of a range."""
    if not isinstance(values, RangeConfig):
        return values
    spaced = np.geomspace if values.log else np.linspace
    numbers = spaced(values.low, values.high, LEVELS).tolist()
    whole = isinstance(values.low, int) and isinstance(values.high, int)
    return tuple(dict.fromkeys(round(n) if whole else n for n in numbers))
