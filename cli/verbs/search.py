"""`dashfx search`: a model and data go in; a run's folder with the searched, retrained and exported model comes out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from dashfx.cli import render
from dashfx.cli.interrupt import interruptible
from dashfx.cli.methods import options as method_options
from dashfx.cli.naming import folders
from dashfx.cli.options import blackbox as blackbox_options
from dashfx.cli.options import costs as cost_options
from dashfx.cli.options import files as export_options
from dashfx.cli.options import finalists as finalist_options
from dashfx.cli.options import shared as options
from dashfx.cli.options import space as space_options
from dashfx.cli.tables import costs as cost_tables
from dashfx.cli.tables import files as file_tables
from dashfx.cli.tables import finalists as finalist_tables
from dashfx.cli.tables import fronts as front_tables
from dashfx.cli.tables import shared as tables
from dashfx.errors import ConfigError
from dashfx.train.progress import Observer, Observers

if TYPE_CHECKING:
    from dashfx.config.run import RunConfig
    from dashfx.run.result import Result


def search(
    ctx: typer.Context,
    model: options.Model = None,
    data: options.Data = None,
    augment: options.Augment = None,
    preset: options.Preset = None,
    task: options.Task = None,
    loss: options.Loss = None,
    model_args: options.ModelArgs = None,
    checkpoint: options.Checkpoint = None,
    new_head: options.NewHead = None,
    out: options.Out = None,
    resume: options.Resume = False,
    kernels: options.Kernels = None,
    dilations: options.Dilations = None,
    families: space_options.Families = None,
    ceiling: space_options.Ceiling = None,
    morph: space_options.Morph = None,
    space: options.Space = None,
    include: options.Include = None,
    exclude: options.Exclude = None,
    sites: options.Sites = None,
    method: method_options.Method = None,
    strategy: options.Strategy = None,
    evaluator: blackbox_options.Evaluator = None,
    evaluations: blackbox_options.Evaluations = None,
    objectives: blackbox_options.Objectives = None,
    warm_start: options.WarmStart = None,
    widths: cost_options.Widths = None,
    max: options.Max = None,
    latency_threads: cost_options.LatencyThreads = None,
    latency_provider: cost_options.LatencyProvider = None,
    pareto: cost_options.Pareto = None,
    pareto_cost: cost_options.ParetoCost = None,
    pareto_folders: cost_options.ParetoFolders = False,
    init: options.Init = None,
    rule: options.Rule = None,
    tie: options.Tie = None,
    search_seeds: options.SearchSeeds = None,
    epochs: options.Epochs = None,
    batch_size: options.BatchSize = None,
    retrain_epochs: options.RetrainEpochs = None,
    weights: options.Weights = None,
    retrain_args: options.RetrainArgs = None,
    tune: options.TuneTrials = None,
    tune_minutes: options.TuneMinutes = None,
    budget: options.Budget = None,
    config: options.Config = None,
    assignments: options.Assignments = None,
    seed: options.Seed = None,
    device: options.Device = None,
    amp: options.Amp = None,
    limit: options.Limit = None,
    control: options.Control = None,
    random_control: options.RandomControl = None,
    effort: finalist_options.Effort = None,
    finalists: finalist_options.FinalistCount = None,
    seeds: finalist_options.Seeds = None,
    folds: finalist_options.Folds = None,
    longer: finalist_options.Longer = None,
    wider: finalist_options.Wider = None,
    refit: finalist_options.Refit = None,
    ensemble: finalist_options.Ensemble = None,
    distil: finalist_options.Distil = None,
    int8: export_options.Int8 = None,
    max_drop: export_options.MaxDrop = None,
    fp16: export_options.Fp16 = None,
    preprocess: export_options.Preprocess = None,
    postprocess: export_options.Postprocess = None,
    workers: options.TrainingWorkers = None,
    tensorboard: options.TensorBoard = False,
    mlflow: options.MLflow = False,
    wandb: options.WandB = False,
    quiet: options.Quiet = False,
) -> None:
    """Find a kernel size and dilation for each conv of MODEL, retrain it, and write a checked ONNX file.

    A run is continued by `dashfx search --resume --out RUN`.
    """
    settings = options.configuration(ctx.params, _settings_to_resume(out) if resume else None)
    export_options.asked_drop(max_drop, settings.export.int8)
    network = options.given(settings.model, options.NO_MODEL)
    source = options.given(settings.data, options.NO_DATA)
    folder = out or folders.free_folder(f"runs/{folders.run_name(network, source)}")
    others = writers(folder, tensorboard, mlflow, wandb)
    if pareto_folders and not settings.search.pareto:
        raise ConfigError("--pareto-folders retrains the choices of --pareto: say how many, such as --pareto 8")
    with render.progress(quiet) as progress, interruptible(f"continue with: dashfx search --resume --out {folder}"):
        from dashfx.pipeline import search as search_pipeline  # seconds, during which something should be seen

        observer = Observers([progress, *others])
        result = search_pipeline(
            network, source, out=folder, config=settings, observer=observer, resume=resume, workers=workers
        )
    if not quiet and result.folder:  # of several processes, one has written it
        show_result(result, result.folder)
    if pareto_folders and result.front:
        retrained = cost_tables.retrain_front(result, folder, settings, resume, quiet)
        if not quiet:
            render.show(cost_tables.retrained(retrained, result.front, result.task.metric_name))


def writers(folder: Path, tensorboard: bool, mlflow: bool, wandb: bool) -> list[Observer]:
    """The loggers that are asked for; each writes into the run's folder, unless its own settings say otherwise.

    Raises:
        ConfigError: one that is not installed.
    """
    found: list[Observer] = []  # each imports what few want
    if tensorboard:
        from dashfx.train.loggers.tensorboard import TensorBoard

        found.append(TensorBoard(folder / "tensorboard"))
    if mlflow:
        from dashfx.train.loggers.mlflow import MLflow

        found.append(MLflow(folder / "mlflow", folder.name))
    if wandb:
        from dashfx.train.loggers.wandb import WandB

        found.append(WandB(folder / "wandb", folder.name))
    return found


def show_result(result: Result, folder: Path) -> None:
    """What a run found and where it is."""
    facts = result.to_dict()
    render.show(tables.genotype(result.chosen, result.sites), *tables.not_kept(facts))
    if result.chosen.widths:
        render.show(cost_tables.widths(result.chosen))
    if result.evaluated_front.rows:
        render.show(front_tables.front(result.evaluated_front))
    render.show(*finalist_tables.trained(facts))
    agreed = [result.agreement.sentence] if result.agreement else []
    said = [*([result.verdict] if result.verdict else []), *agreed, *(each.sentence for each in result.budgets)]
    render.show(*said, *(f"warning: {each}" for each in result.warnings))
    if result.front:
        render.show(cost_tables.front(result.front, result.task.metric_name))
    if result.ensemble:
        render.show(result.ensemble.sentence(result.task.metric_name))
    if result.int8:
        render.show(f"int8: {result.int8}")
    if result.fp16:
        render.show(f"fp16: {result.fp16}")
    if result.files:
        render.show(file_tables.compared(result))
    render.show(tables.files(folder))
    if result.account:
        render.show(cost_tables.account(result.account), result.account.sentence)


def _settings_to_resume(out: Path | None) -> RunConfig:
    from dashfx.run.folder import existing_folder

    if out is None:
        raise ConfigError("--resume needs --out: the folder of the run to continue")
    return existing_folder(out)[1]
