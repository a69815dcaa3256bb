"""Trained mixtures of an earlier run, from which further choices can be read, and its run without them."""

from __future__ import annotations

import copy
from pathlib import Path

from torch import nn

from dashfx.config.search import WIDTHS
from dashfx.errors import RunFolderError
from dashfx.genotype import Genotype
from dashfx.ops import sites_of
from dashfx.run.folder import existing_folder, reading
from dashfx.run.run import Run
from dashfx.stages.reopen import TRAIN_AGAIN, chosen_of, prepared, restored, without_checkpoint
from dashfx.stages.retrain import specialised
from dashfx.strategies.base import Training
from dashfx.supernet import lower
from dashfx.train.checkpoints import read_state


def has_mixtures(folder: str | Path) -> bool:
    """Whether a run's search has trained mixtures that are still there."""
    paths, config = existing_folder(folder)
    return config.trains_supernet and (paths.checkpoints / "search-last.pt").is_file()


def run_of(folder: str | Path, data: str | None = None) -> Run:
    """The run of an earlier folder; noise of their shape stands in for data that are not here."""
    paths, config = existing_folder(folder)
    return prepared(paths, without_checkpoint(config, paths), data=data, shape_will_do=True)


def choosable(folder: str | Path, data: str | None = None) -> tuple[Run, nn.Module, Training]:
    """`mixtures_of` a run whose choices hold budgets by themselves.

    Raises:
        RunFolderError: as `mixtures_of`, or a run that chose widths, which alone would hold other budgets.
    """
    _, config = existing_folder(folder)
    if config.search.widths or config.search.kind == WIDTHS:
        raise RunFolderError(
            f"{folder}: its widths hold the budgets, and other budgets need other widths: search with --widths and "
            "those budgets"
        )
    return mixtures_of(folder, data)


def mixtures_of(folder: str | Path, data: str | None = None) -> tuple[Run, nn.Module, Training]:
    """The run, its supernet as training left it, all candidates in their mixtures, and how it was trained.

    Args:
        data: where the run's data are now; without them noise of their shape will do.

    Raises:
        RunFolderError: not a run's folder, or one whose search has trained no mixtures, or is not done.
    """
    paths, config = existing_folder(folder)
    chosen_of(paths)
    run = prepared(paths, without_checkpoint(config, paths), data=data, shape_will_do=True)
    training, state = run.strategy.training, paths.checkpoints / "search-last.pt"
    if training is None or not state.is_file():
        raise RunFolderError(
            f"{folder}: no mixtures to choose from; its search trained none, or its checkpoint is gone"
        )
    supernet, relaxation = restored(run, paths, state), copy.deepcopy(training.relaxation)
    with reading(state, TRAIN_AGAIN):
        relaxation.load_state_dict(read_state(state)["learner"].get("relaxation", relaxation.state_dict()))
    for site in sites_of(supernet).values():
        site.relaxation = relaxation
    return run, supernet, training


def model_with(folder: str | Path, genotype: Genotype, data: str | None = None) -> nn.Module:
    """The lowered model of a choice, with the weights that an earlier run's search left, where it has trained any."""
    if not has_mixtures(folder):
        return specialised(run_of(folder, data).silent(), genotype)
    run, supernet, _ = mixtures_of(folder, data)
    return lower(supernet, genotype, "inherit" if run.strategy.judges_mixtures else "own")
