"""`dashfx tune`: a run's folder goes in; a study of how its choices are best retrained is carried on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dashfx.cli import render
from dashfx.cli.interrupt import interruptible
from dashfx.cli.options import shared as options
from dashfx.cli.tables import shared as tables

TRIALS = 24  # where no limit is given: as many as the paper's grid has
TOGETHER = 8  # trials of a batch with --workers, whatever their number, so that any number comes to the same

Trials = Annotated[int | None, typer.Option("--trials", help="trainings that the study has in the end", min=1)]
Minutes = Annotated[float | None, typer.Option("--minutes", help="minutes that its trainings take together")]
Sampler = Annotated[str | None, typer.Option(help="tpe, random or grid")]
Storage = Annotated[str | None, typer.Option(help="a database URL for workers that do not share the folder")]


def tune(
    ctx: typer.Context,
    run: options.Folder,
    trials: Trials = None,
    minutes: Minutes = None,
    sampler: Sampler = None,
    storage: Storage = None,
    workers: options.TrainingWorkers = None,
    data: options.MovedData = None,
    assignments: options.Assignments = None,
    device: options.Device = None,
    quiet: options.Quiet = False,
) -> None:
    """Tune the options that RUN's choices are retrained with; dashfx retrain RUN then takes the best ones.

    The study stays in the folder: the same command carries it on, also at the same time on other machines. With
    --workers trials are drawn eight at a time, or as many as --set tune.together says.
    """
    from dashfx.run.folder import existing_folder
    from dashfx.stages.budget import decided
    from dashfx.stages.reopen import tune_folder

    own = [f"tune.{name}={value}" for name, value in (("sampler", sampler), ("storage", storage)) if value is not None]
    flags = {**ctx.params, "tune": trials, "tune_minutes": minutes, "assignments": [*own, *(assignments or ())]}
    folder, settings = existing_folder(run)
    decision = decided(folder)
    settings = options.configuration(flags, decision.applied(settings) if decision else settings)
    if not settings.tune.wanted:
        settings = settings.model_copy(update={"tune": settings.tune.model_copy(update={"trials": TRIALS})})
    if workers and settings.tune.together == 1:
        settings = settings.model_copy(update={"tune": settings.tune.model_copy(update={"together": TOGETHER})})
    with render.progress(quiet) as observer, interruptible("the same command carries the study on"):
        found = tune_folder(run, settings, observer, workers=workers)
    if not quiet:
        render.show(tables.trials(found), f"best, on the validation part: {found}", f"dashfx retrain {run} takes these")


def show_trials(folder: Path) -> None:
    """The study's table, where the run has one."""
    from dashfx.run.folder import RunFolder
    from dashfx.tune import Tuned

    path = RunFolder(folder).tuned
    if path.is_file():
        render.show(tables.trials(Tuned.load(path)))
