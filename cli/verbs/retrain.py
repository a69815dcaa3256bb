"""`dashfx retrain`: a run's folder goes in; its choices are trained again, in a new run's folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from dashfx.cli import render
from dashfx.cli.interrupt import interruptible
from dashfx.cli.naming import folders
from dashfx.cli.options import files as export_options
from dashfx.cli.options import finalists as finalist_options
from dashfx.cli.options import shared as options
from dashfx.cli.verbs.search import show_result, writers
from dashfx.train.progress import Observers

if TYPE_CHECKING:
    from torch import nn

    from dashfx.genotype import Genotype
    from dashfx.tune import Tuned


def retrain(
    ctx: typer.Context,
    run: options.Folder,
    data: options.MovedData = None,
    out: options.Out = None,
    resume: options.Resume = False,
    max: options.Max = None,
    retrain_epochs: options.OwnRetrainEpochs = None,
    weights: options.Weights = None,
    retrain_args: options.RetrainArgs = None,
    assignments: options.Assignments = None,
    seed: options.Seed = None,
    device: options.Device = None,
    amp: options.Amp = None,
    seeds: finalist_options.Seeds = None,
    folds: finalist_options.Folds = None,
    refit: finalist_options.Refit = None,
    int8: export_options.Int8 = None,
    max_drop: export_options.MaxDrop = None,
    fp16: export_options.Fp16 = None,
    preprocess: export_options.Preprocess = None,
    postprocess: export_options.Postprocess = None,
    tensorboard: options.TensorBoard = False,
    mlflow: options.MLflow = False,
    wandb: options.WandB = False,
    quiet: options.Quiet = False,
) -> None:
    """Train the convs that RUN chose once more, with its configuration and whatever is given here.

    With --max another choice where RUN's own costs too much, as `dashfx pick` makes it.
    """
    from dashfx.pipeline import retrain_genotype
    from dashfx.run.folder import existing_folder
    from dashfx.stages.reopen import asking_for_data, lowered_of, searched_of, with_kept_width
    from dashfx.tune import Tuned, with_values

    before, settings = existing_folder(run)
    tuned = Tuned.load(before.tuned) if before.tuned.is_file() else None
    settings = with_kept_width(before, with_values(settings, tuned.taken) if tuned else settings)
    settings = options.configuration(ctx.params, settings)
    export_options.asked_drop(max_drop, settings.export.int8)
    folder = out or folders.free_folder(f"{before.root}-retrain")
    others = writers(folder, tensorboard, mlflow, wandb)
    with render.progress(quiet) as progress, interruptible(f"continue with {_again(run, folder)}"):
        progress.note(_recipe(before.root, tuned))
        start, genotype = None, searched_of(run)
        if max:
            start, genotype = _within(run, max, data, folder if resume else None, settings.retrain.weights)
        elif settings.retrain.weights == "inherit":
            start, genotype = lowered_of(run, data)
        network = options.given(settings.model, options.NO_MODEL)
        source = options.given(settings.data, options.NO_DATA)
        with asking_for_data(before.root, source, given=data is not None):
            observer = Observers([progress, *others])
            result = retrain_genotype(
                network, source, genotype, start=start, out=folder, config=settings, observer=observer, resume=resume
            )
    if not quiet and result.folder:  # of several processes, one has written it
        show_result(result, result.folder)


def _within(
    run: Path, budgets: list[str], data: str | None, again: Path | None, weights: str
) -> tuple[nn.Module | None, Genotype]:
    """RUN's choice, or another one within budgets, and the model to start from.

    Args:
        again: the folder of a retraining that is resumed.
    """
    from dashfx.run.folder import RunFolder
    from dashfx.stages.costs.pick import repicked
    from dashfx.stages.reopen import load_genotype

    known = RunFolder(again).genotype if again else None
    model, genotype = repicked(run, budgets, data, load_genotype(known) if known and known.is_file() else None)
    return (model if weights == "inherit" else None), genotype


def _recipe(root: Path, tuned: Tuned | None) -> str:
    """What it is trained by, before what this command says otherwise."""
    if tuned is None:
        return f"retrain: by the recipe of {root}"
    if not tuned.taken:
        return f"retrain: by the recipe of {root} as it was, which did better than the best of its trials"
    return f"retrain: by the recipe that tuning found in {root} (trial {tuned.number + 1}: {tuned})"


def _again(run: object, folder: object) -> str:
    return f"the same options and: dashfx retrain {run} --resume --out {folder}"
