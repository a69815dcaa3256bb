"""Lengths of trainings: the rungs of a race, the epochs of a longer control, and the plan of a whole run."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from dashfx.config.run import RunConfig
from dashfx.config.search import AUTO
from dashfx.run.result import RANDOM
from dashfx.stages.finalists.base import CONTROL, PLAIN, RETRAIN
from dashfx.train.length import Bounds
from dashfx.train.pace import PLAIN_EPOCHS

RACE, LONGER_STAGE, WIDER_STAGE, REFIT = "race", "control-longer", "control-wider", "refit"


@dataclass(frozen=True)
class Rung:
    """So many trainings of so many epochs, after which the best `kept` go on."""

    number: int
    entrants: int
    epochs: int
    kept: int


def rung_epochs(full: Bounds, share: float) -> int:
    """The epochs of a training of that share of the full one, at least one; where that is open, of the usual one."""
    return max(1, round(share * full.usual))


def with_epochs(config: RunConfig, epochs: int) -> RunConfig:
    """The recipe with a complete schedule of so many epochs; where validation would end it, of the same kind."""
    size: dict[str, Any] = {"epochs": epochs}
    size |= {"schedule": "warmup-stable-decay"} if config.retrain.epochs == AUTO else {}
    return config.model_copy(update={"retrain": config.retrain.model_copy(update=size)})


def rungs(config: RunConfig, full: Bounds, proposals: int) -> list[Rung]:
    """The low rungs of so many proposals, in order; none where all of them may be trained in full.

    Each keeps one in `halving`, and is as much longer than the one before; the last has `share` of a full training. So
    all rungs cost about the same: with the usual thirds and a sixth, half a full training each.
    """
    options, left, sizes = config.finalists, proposals, list[tuple[int, int]]()
    while left > options.count:
        kept = max(options.count, math.ceil(left / options.halving))
        sizes.append((left, kept))
        left = kept
    found: list[Rung] = []
    for i, (entrants, kept) in enumerate(sizes):
        epochs = rung_epochs(full, options.share / options.halving ** (len(sizes) - 1 - i))
        if found and found[-1].epochs == epochs:  # too short to be told apart: the earlier one is left out
            entrants = found.pop().entrants
        found.append(Rung(len(found) + 1, entrants, epochs, kept))
    return found


def race_epochs(config: RunConfig, full: Bounds, proposals: int) -> int:
    """The epochs of all low rungs together."""
    return sum(rung.entrants * rung.epochs for rung in rungs(config, full, proposals))


def lengthened(epochs: int, work: float, total: float) -> int:
    """The epochs that take `total` work, where `epochs` of them take `work`."""
    return round(epochs * total / work) if work else epochs


def planned_longer(config: RunConfig, full: Bounds, proposals: int, supernet: float = PLAIN_EPOCHS) -> float:
    """The epochs of the longer untouched model, where it is trained: all that may lead to the searched one.

    Args:
        supernet: what an epoch of the search costs in those of the untouched model.
    """
    seeds, others = config.finalists.trainings, min(config.finalists.count, proposals) - 1
    search = supernet * config.search.epochs if config.trains_supernet else 0.0
    return (1 + others) * full.usual + (search + race_epochs(config, full, proposals)) / seeds


def trainings(config: RunConfig, full: Bounds, proposals: int = 1) -> float:
    """How many full trainings follow the search, but for those of the untouched model; the low rungs by their share."""
    options = config.finalists
    models = min(options.count, proposals) + (config.tune.wanted and config.tune.finalist) + config.random_control
    models += config.control and bool(options.wider)
    return options.trainings * models + race_epochs(config, full, proposals) / full.usual + options.refit


def untouched_trainings(config: RunConfig, full: Bounds, proposals: int = 1, supernet: float = PLAIN_EPOCHS) -> float:
    """How many full trainings the untouched model has at most, the longer one by its share.

    Args:
        supernet: what an epoch of the search costs in those of the untouched model.
    """
    if not config.control:
        return 0.0
    longer = planned_longer(config, full, proposals, supernet) / full.usual if config.finalists.longer else 0.0
    return config.finalists.trainings * (1 + longer * (longer > 1))


def planned_epochs(
    config: RunConfig, full: Bounds, proposals: int = 1, supernet: float = PLAIN_EPOCHS, longer: float | None = None
) -> dict[str, float]:
    """The epochs of each stage that trains, at most; a trial's count by its share of the data.

    Args:
        full: the epochs of a full training.
        proposals: how many the search makes.
        supernet: what an epoch of the search costs in those of the untouched model.
        longer: the epochs of the longer untouched model, once they are known; before, the most that it can have.
    """
    options, most = config.finalists, full.most
    if longer is None:
        longest = planned_longer(config, full, proposals, supernet) if options.longer else 0.0
        longer = round(longest) if longest > full.usual else 0.0
    epochs: dict[str, float] = {"search": config.search.epochs} if config.trains_supernet else {}
    if race := race_epochs(config, full, proposals):
        epochs[RACE] = race
    if config.tune.trials:
        share = (config.tune.fraction or config.retrain.fraction) / config.retrain.fraction
        epochs["tune"] = config.tune.trials * share * (config.tune.epochs or 0.4 * full.usual)
    stages: dict[str, float] = {RETRAIN: options.trainings * most * min(options.count, proposals)}
    stages |= {PLAIN: options.trainings * most} if config.tune.wanted and config.tune.finalist else {}
    if not config.search.is_control:
        stages |= {CONTROL: options.trainings * most} if config.control else {}
        stages |= {RANDOM: options.trainings * most} if config.random_control else {}
        stages |= {WIDER_STAGE: options.trainings * most} if config.control and options.wider else {}
        stages |= {LONGER_STAGE: options.trainings * longer} if config.control and longer else {}
    stages |= {REFIT: most} if options.refit else {}
    return {**epochs, **stages}
