"""Lengths of trainings: the rungs of a race, the epochs of a longer control, and the plan of a whole run."""

from __future__ import annotations

import math
from dataclasses import dataclass

from dashfx.config.run import RunConfig
from dashfx.config.search import AUTO, WIDTHS
from dashfx.run.result import RANDOM
from dashfx.stages.finalists.base import CONTROL, DISTIL, PLAIN, RETRAIN
from dashfx.train.length import Bounds
from dashfx.train.pace import PLAIN_EPOCHS

TRIPLED = 3  # times its usual training: the most that the untouched model is trained longer without being asked to
RACE, LONGER_STAGE, WIDER_STAGE, REFIT = "race", "control-longer", "control-wider", "refit"


@dataclass(frozen=True)
class Rung:
    """So many trainings of so many epochs, after which the best `kept` go on."""

    number: int
    entrants: int
    epochs: int
    kept: int


def rung_epochs(full: Bounds, share: float) -> int:
    """The epochs of a training of that share of the full one, at least one."""
    return max(1, round(share * full.usual))


def with_epochs(config: RunConfig, epochs: int) -> RunConfig:
    """The recipe with a complete schedule of so many epochs, of the form that it has without a number."""
    options = config.retrain
    schedule = "warmup-stable-decay" if options.epochs == AUTO else options.schedule
    given = options.model_copy(update={"epochs": epochs, "max_epochs": None, "schedule": schedule})
    return config.model_copy(update={"retrain": given})


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


def planned_longer(
    config: RunConfig, full: Bounds, proposals: int, supernet: float = PLAIN_EPOCHS, choice: float = 1.0
) -> float:
    """The epochs of the longer untouched model, where it is trained: all that may lead to the searched one.

    Args:
        full: of a full training.
        supernet: what an epoch of the search costs in those of the untouched model; `choice` one of a chosen model.
    """
    models = min(config.finalists.count, proposals) + (config.tune.wanted and config.tune.finalist)
    search = supernet * config.search.seeds * config.search.epochs if config.trains_supernet else 0.0
    race = race_epochs(config, full, proposals)
    equal = choice * models * full.most + (search + choice * race) / config.finalists.trainings
    return min(equal, TRIPLED * full.most) if config.finalists.longer == AUTO else equal


def trainings(config: RunConfig, full: Bounds, proposals: int = 1) -> float:
    """How many full trainings follow the search, the low rungs by their share.

    Those of the untouched model, and of what is kept in the end (distil, refit), come on top.
    """
    options = config.finalists
    models = min(options.count, proposals) + (config.tune.wanted and config.tune.finalist) + config.random_control
    models += config.control and bool(options.wider)
    return options.trainings * models + race_epochs(config, full, proposals) / full.usual


def untouched_trainings(
    config: RunConfig, full: Bounds, proposals: int = 1, supernet: float = PLAIN_EPOCHS, choice: float = 1.0
) -> float:
    """How many full trainings, of the usual length, the untouched model has, the longer one by its share.

    Args:
        supernet: what an epoch of the search costs in those of the untouched model; `choice` one of a chosen model.
    """
    if not config.control:
        return 0.0
    return config.finalists.trainings * (1 + longer_share(config, full, proposals, supernet, choice))


def longer_share(
    config: RunConfig, full: Bounds, proposals: int = 1, supernet: float = PLAIN_EPOCHS, choice: float = 1.0
) -> float:
    """How many full trainings, of the usual length, one of the longer untouched model is; 0 where there is none."""
    usual = Bounds(full.least, full.usual, full.usual)
    share = planned_longer(config, usual, proposals, supernet, choice) / full.usual
    return share if config.control and config.finalists.longer and share > 1 else 0.0


def planned_epochs(
    config: RunConfig,
    retraining: Bounds,
    proposals: int = 1,
    supernet: float = PLAIN_EPOCHS,
    choice: float = 1.0,
    longer: float | None = None,
) -> dict[str, float]:
    """The epochs of each stage that trains, at most; a trial's count by its share of the data.

    Args:
        retraining: of a full training.
        proposals: how many the search makes.
        supernet: what an epoch of the search costs in those of the untouched model; `choice` one of a chosen model.
        longer: the epochs of the longer untouched model, once they are known; before, the most that is reckoned with.
    """
    options, full = config.finalists, retraining.most
    if longer is None:
        most = planned_longer(config, retraining, proposals, supernet, choice) if options.longer else 0.0
        longer = round(most) if most > full else 0.0
    searches = range(1, config.search.seeds + 1) if config.trains_supernet else ()
    epochs: dict[str, float] = {f"search-{n}" if n > 1 else "search": config.search.epochs for n in searches}
    if config.search.widths or config.search.kind == WIDTHS:
        epochs[WIDTHS] = config.search.epochs
    if race := race_epochs(config, retraining, proposals):
        epochs[RACE] = race
    if config.tune.trials:
        share = (config.tune.fraction or config.retrain.fraction) / config.retrain.fraction
        epochs["tune"] = config.tune.trials * share * (config.tune.epochs or 0.4 * retraining.usual)
    stages: dict[str, float] = {RETRAIN: options.trainings * full * min(options.count, proposals)}
    stages |= {PLAIN: options.trainings * full} if config.tune.wanted and config.tune.finalist else {}
    if not config.search.is_control:
        stages |= {CONTROL: options.trainings * full} if config.control else {}
        stages |= {RANDOM: options.trainings * full} if config.random_control else {}
        stages |= {WIDER_STAGE: options.trainings * full} if config.control and options.wider else {}
        stages |= {LONGER_STAGE: options.trainings * longer} if config.control and longer else {}
    last = max(full, stages.get(LONGER_STAGE, 0.0) / options.trainings)  # as long as the kept model's own training
    stages |= {DISTIL: last} if config.ensemble.distil else {}
    stages |= {REFIT: last} if options.refit else {}
    return {**epochs, **stages}
