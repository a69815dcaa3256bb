"""An earlier run's folder goes in; its run with data, its lowered model or its trained model come out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_model as load_weights
from torch import nn

from dashfx.errors import RunFolderError
from dashfx.genotype import Genotype
from dashfx.ops import drop_residuals
from dashfx.pipeline import rewritten, specialised
from dashfx.run import Run, prepare
from dashfx.runfolder import RunFolder, existing_folder
from dashfx.search.probe import left_alone
from dashfx.supernet import lower


def lowered_of(folder: str | Path) -> tuple[nn.Module, Genotype]:
    """The lowered model as the search of an earlier run left it, before any retraining.

    Raises:
        RunFolderError: not a run's folder, or a run that has no finished search.
    """
    run, genotype = _reopened(folder)
    paths = RunFolder(Path(folder))
    genotype = Genotype.load(paths.searched) if paths.searched.is_file() else genotype
    states = [paths.checkpoints / f"{stage}-last.pt" for stage in ("settle", "search")]
    state = next((file for file in states if file.is_file()), None)
    if state is None:
        return specialised(run, genotype), genotype
    gained = json.loads(paths.probe.read_text(encoding="utf-8")) if paths.probe.is_file() else {}
    _, supernet = rewritten(run, left_alone(gained, run.config.space.share))
    supernet.load_state_dict(torch.load(state, "cpu", weights_only=True)["learner"]["model"])
    drop_residuals(supernet)
    return lower(supernet, genotype, run.config.inherited), genotype


def model_of(folder: str | Path) -> tuple[Run, nn.Module, Genotype]:
    """The run of an earlier folder with its data, and its trained model.

    Raises:
        RunFolderError: not a run's folder, or a run that has not finished.
    """
    run, genotype = _reopened(folder, checkpoint=None)  # the run's own weights go over it, so it may be gone by now
    weights = RunFolder(Path(folder)).weights
    if not weights.is_file():
        raise RunFolderError(f"{folder} holds no {weights.name}: the run has not finished; continue it with --resume")
    plain = specialised(run, genotype)
    load_weights(plain, weights)
    return run, plain.eval(), genotype


def _reopened(folder: str | Path, **changes: Any) -> tuple[Run, Genotype]:
    paths, config = existing_folder(folder)
    config = config.model_copy(update=changes)
    if config.model is None or config.data is None:
        raise RunFolderError(f"{folder}: its model or data came from Python objects; use dashfx from Python with them")
    if not paths.genotype.is_file():
        raise RunFolderError(
            f"{folder} holds no {paths.genotype.name}: its search has not finished; continue it with --resume"
        )
    return prepare(config.model, config.data, config=config), Genotype.load(paths.genotype)
