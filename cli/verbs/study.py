"""`dashfx study`: methods, a model and data go in; a table of what each method's models come to, beside controls."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dashfx.cli import render
from dashfx.cli.interrupt import interruptible
from dashfx.cli.methods import study_table
from dashfx.cli.naming import folders
from dashfx.cli.options import shared as options
from dashfx.errors import ConfigError

if TYPE_CHECKING:
    from dashfx.study import Plan

COMPARED = "What is compared"
SEEDS, RANDOM = 3, 8

Methods = Annotated[
    str | None,
    typer.Option(
        help="methods apart by commas, as dash,darts-pt; untouched and random are always there",
        rich_help_panel=COMPARED,
        show_default=False,
    ),
]
Searches = Annotated[
    int | None,
    typer.Option("--seeds", help=f"searches of each method; {SEEDS} by default", rich_help_panel=COMPARED),
]
Random = Annotated[
    int | None,
    typer.Option("--random", help=f"random choices that are trained; {RANDOM} by default", rich_help_panel=COMPARED),
]
Resume = Annotated[
    bool, typer.Option("--resume", help="carry the study in --out on; --seeds, --random and --methods may grow")
]


def study(
    ctx: typer.Context,
    model: options.Model = None,
    data: options.Data = None,
    methods: Methods = None,
    searches: Searches = None,
    random: Random = None,
    out: options.Out = None,
    resume: Resume = False,
    augment: options.Augment = None,
    preset: options.Preset = None,
    task: options.Task = None,
    loss: options.Loss = None,
    model_args: options.ModelArgs = None,
    checkpoint: options.Checkpoint = None,
    new_head: options.NewHead = None,
    kernels: options.Kernels = None,
    dilations: options.Dilations = None,
    space: options.Space = None,
    include: options.Include = None,
    exclude: options.Exclude = None,
    epochs: options.Epochs = None,
    batch_size: options.BatchSize = None,
    retrain_epochs: options.RetrainEpochs = None,
    weights: options.Weights = None,
    config: options.Config = None,
    assignments: options.Assignments = None,
    seed: options.Seed = None,
    device: options.Device = None,
    amp: options.Amp = None,
    limit: options.Limit = None,
    workers: options.TrainingWorkers = None,
    quiet: options.Quiet = False,
) -> None:
    """Compare methods of search on MODEL with random choices and the model as it is, after equal training.

    Each method searches with several seeds, and what it finds is trained once by the recipe that all share. A study is
    carried on by `dashfx study --resume --out DIR`.
    """
    plan = planned(ctx.params, out if resume else None)
    network, source = str(plan.options["model"]), str(plan.options["data"])
    folder = out or folders.free_folder(f"runs/study-{folders.run_name(network, source)}")
    how = f"carry it on with: dashfx study --resume --out {folder}"
    with render.progress(quiet) as observer, interruptible(how):
        from dashfx.study import study as carry_out  # seconds, during which something should be seen

        found = carry_out(plan, folder, resume=resume, observer=observer, workers=workers)
    if not quiet:
        render.show(*study_table.shown(found.plan, found.summary))
    for name in ("study.md", "study.json"):
        render.line(str(folder / name))


def planned(flags: dict[str, Any], resumed: Path | None) -> Plan:
    """The study that the flags say, or with `--resume` the one in the folder with what the flags add to it."""
    from dashfx.study.plan import Plan, names_in

    if flags["resume"] and resumed is None:
        raise ConfigError("--resume needs --out: the folder of the study to carry on")
    before = Plan.load(resumed) if resumed else None
    told = options.told(flags)
    if before is not None and flags["model"] is None:
        told = {**before.options, **told}
    for name, missing in (("model", options.NO_MODEL), ("data", options.NO_DATA)):
        options.given(told.get(name), missing)
    methods = flags["methods"]
    if methods is None and before is None:
        raise ConfigError("--methods: name what to compare, as dash,darts-pt; dashfx methods lists the methods")
    return Plan(
        before.methods if methods is None and before else names_in(methods),
        _or(flags["searches"], before.seeds if before else SEEDS),
        _or(flags["random"], before.random if before else RANDOM),
        told,
    )


def _or(value: int | None, otherwise: int) -> int:
    return otherwise if value is None else value
