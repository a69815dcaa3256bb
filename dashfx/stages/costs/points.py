"""Retraining of a front: each choice of a finished search becomes a run's folder of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from torch import nn

from dashfx.config.run import RunConfig
from dashfx.genotype import Genotype
from dashfx.run.folder import existing_folder, retrained_config
from dashfx.run.outcome.front import Front
from dashfx.run.result import Result
from dashfx.stages.costs.mixtures import model_with

Retrain = Callable[[Genotype, nn.Module | None, RunConfig, Path, bool], Result]


def retrained_points(folder: Path, front: Front, retrain: Retrain, resume: bool = False) -> list[Result]:
    """What each choice comes to by the recipe of the run's kept model, in `folder/front/1` and so on.

    Args:
        retrain: a choice, the model to start from, options, the folder, and whether it is resumed.
        resume: folders that are there already are continued.
    """
    options, found = point_options(folder), list[Result]()
    for number, point in enumerate(front.points, 1):
        place = folder / "front" / str(number)
        start = model_with(folder, point.genotype) if options.retrain.weights == "inherit" else None
        found.append(retrain(point.genotype, start, options, place, resume and (place / "config.yaml").is_file()))
    return found


def point_options(folder: Path) -> RunConfig:
    """The options of a run with which its kept model was trained, for one choice: no budgets, no front, one model."""
    paths, config = existing_folder(folder)
    config = retrained_config(paths, config)
    search = config.search.model_copy(update={"budgets": (), "pareto": 0})
    return config.model_copy(update={"search": search, "budget": None, "control": False, "random_control": False})
