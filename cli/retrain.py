"""`dashfx retrain`: a run's folder goes in; its choices are trained again, in a new run's folder."""

from __future__ import annotations

import typer

from dashfx.cli import options, render
from dashfx.cli.interrupt import interruptible
from dashfx.cli.search import show_result, writers
from dashfx.train.progress import Observers


def retrain(
    ctx: typer.Context,
    run: options.Folder,
    out: options.Out = None,
    resume: options.Resume = False,
    retrain_epochs: options.OwnRetrainEpochs = None,
    weights: options.Weights = None,
    retrain_args: options.RetrainArgs = None,
    assignments: options.Assignments = None,
    seed: options.Seed = None,
    device: options.Device = None,
    amp: options.Amp = None,
    tensorboard: options.TensorBoard = False,
    quiet: options.Quiet = False,
) -> None:
    """Train the convs that RUN chose once more, with its configuration and whatever is given here."""
    from dashfx.genotype import Genotype
    from dashfx.pipeline import retrain_genotype
    from dashfx.run.folder import existing_folder
    from dashfx.stages.reopen import lowered_of
    from dashfx.tune import Tuned, with_values

    before, settings = existing_folder(run)
    if before.tuned.is_file():
        settings = with_values(settings, Tuned.load(before.tuned).taken)
    settings = options.configuration(ctx.params, settings)
    folder = out or options.free_folder(f"{before.root}-retrain")
    start, genotype = None, Genotype.load(before.genotype)
    if settings.retrain.weights == "inherit":
        start, genotype = lowered_of(run)
    others = writers(folder) if tensorboard else []
    with render.progress(quiet) as progress, interruptible(f"continue with {_again(run, folder)}"):
        result = retrain_genotype(
            options.given(settings.model, options.NO_MODEL),
            options.given(settings.data, options.NO_DATA),
            genotype,
            start=start,
            out=folder,
            config=settings,
            observer=Observers([progress, *others]),
            resume=resume,
        )
    if not quiet and result.folder:  # of several processes, one has written it
        show_result(result, result.folder)


def _again(run: object, folder: object) -> str:
    return f"the same options and: dashfx retrain {run} --resume --out {folder}"
