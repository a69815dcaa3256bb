"""`dashfx retrain`: a run's folder goes in; its genotype is trained again, with other settings, in a new run's folder."""

from __future__ import annotations

import typer

from dashfx.cli import options, render
from dashfx.cli.interrupt import interruptible
from dashfx.cli.search import show_result


def retrain(
    ctx: typer.Context,
    run: options.Folder,
    out: options.Out = None,
    resume: options.Resume = False,
    retrain_epochs: options.OwnRetrainEpochs = None,
    weights: options.Weights = None,
    assignments: options.Assignments = None,
    seed: options.Seed = None,
    device: options.Device = None,
    amp: options.Amp = None,
    quiet: options.Quiet = False,
) -> None:
    """Train the convs that RUN chose once more, from its configuration and whatever is given here."""
    from dashfx.genotype import Genotype
    from dashfx.runfolder import existing_folder

    before, settings = existing_folder(run)
    settings = options.configuration(ctx.params, settings)
    genotype = Genotype.load(before.genotype)
    network, source = options.given(settings.model, "model in its config.yaml"), options.given(settings.data, "data")
    folder = out or options.free_folder(f"{before.root}-retrain")

    from dashfx.pipeline import retrain_genotype

    again = f"continue with the same command and --resume --out {folder}"
    with render.progress(quiet) as observer, interruptible(again):
        result = retrain_genotype(
            network, source, genotype, out=folder, config=settings, observer=observer, resume=resume
        )
    if not quiet:
        show_result(result)
