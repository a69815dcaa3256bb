"""Reopening of an earlier run's folder: its run, lowered or trained model, result or tuned options."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors.torch import load_model as load_weights
from torch import nn

from dashfx.blackbox.base import Row, row_of
from dashfx.blackbox.genotype_table import genotype_in
from dashfx.config.data import ReadingConfig
from dashfx.config.run import RunConfig
from dashfx.cost.budgets import Spent
from dashfx.cost.files import FileFigures
from dashfx.cost.latency import Figures
from dashfx.data import Normalisation
from dashfx.data.reading import Reading
from dashfx.deploy.export import ExportReport
from dashfx.deploy.half.fp16 import Half
from dashfx.deploy.quantise.choose import Int8
from dashfx.errors import ConfigError, DataError, GenotypeError, RunFolderError
from dashfx.genotype import Genotype
from dashfx.ops import drop_residuals
from dashfx.report.network import network
from dashfx.run.files.lock import releasing
from dashfx.run.folder import RunFolder, existing_folder, read_facts, reading, retrained_config, write_text
from dashfx.run.outcome.account import Account
from dashfx.run.outcome.ensemble import Ensemble
from dashfx.run.outcome.front import Front, SiteTime
from dashfx.run.prepare import check_alone, prepare
from dashfx.run.result import RANDOM, UNTOUCHED, Result, Short, Standing
from dashfx.run.run import Run
from dashfx.run.standin import stand_in
from dashfx.stages.retrain import holding, lowered, specialised
from dashfx.stages.rewrite import probe_gains, rewritten
from dashfx.stages.tune import tune_run
from dashfx.strategies.agreement import Agreement
from dashfx.strategies.named import strategy_told_by
from dashfx.strategies.one_by_one import STAGE as ONE_BY_ONE
from dashfx.strategies.start.probe import left_alone
from dashfx.supernet import lower
from dashfx.task import ClassScores, OutputError, Task, load_task
from dashfx.train.checkpoints import read_state
from dashfx.train.progress import QUIET, Epoch, Observer, epochs_in, read_log
from dashfx.tune import Tuned
from dashfx.workers import Workers, closing, workers_of

TRAIN_AGAIN = "remove it, and --resume trains that stage again"
AGAIN = "continue that run with --resume, which writes it anew"  # what to do about most damaged files


def lowered_of(folder: str | Path, data: str | None = None) -> tuple[nn.Module, Genotype]:
    """The lowered model as the search of an earlier run left it, before any retraining.

    Args:
        data: where the run's data are now; without them noise of their shape will do.

    Raises:
        RunFolderError: not a run's folder, or a run that has no finished search.
    """
    paths, config = existing_folder(folder)
    genotype = _searched(paths)
    run = prepared(paths, without_checkpoint(config, paths), data=data, shape_will_do=True)
    supernet = _supernet(run, paths, genotype)
    if supernet is None:
        return specialised(run, genotype), genotype
    return lower(supernet, genotype, "inherit" if run.strategy.judges_mixtures else "own"), genotype


def model_of(
    folder: str | Path, data: str | None = None, shape_will_do: bool = False
) -> tuple[Run, nn.Module, Genotype]:
    """The run of an earlier folder with its data, and its trained model.

    Args:
        data: where the run's data are now.
        shape_will_do: noise of the data's shape may stand in for data that are not here.

    Raises:
        RunFolderError: not a run's folder, a run that has not finished, or no data where they have to be.
    """
    paths, config = existing_folder(folder)
    config, genotype = retrained_config(paths, config), chosen_of(paths)
    if not paths.weights.is_file():
        raise RunFolderError(
            f"{folder} holds no {paths.weights.name}: the run has not finished; continue it with --resume"
        )
    alone = config.model_copy(update={"checkpoint": None})  # the run's own weights go over it; it may be gone by now
    run = prepared(paths, alone, data=data, shape_will_do=shape_will_do).for_retraining()
    run = replace(run, inputs=replace(run.inputs, config=config))
    plain = specialised(replace(run, inputs=replace(run.inputs, config=alone)), genotype)
    with reading(paths.weights, AGAIN):
        load_weights(plain, paths.weights)
    return run, plain.eval(), genotype


def result_of(folder: str | Path, data: str | None = None) -> tuple[Run, Result]:
    """The run of an earlier folder, and its result as the search handed it back, with all that the report shows.

    Raises:
        RunFolderError: not a run's folder, a run that has not finished, or files that are damaged or not its own.
    """
    paths = RunFolder(Path(folder))
    facts = read_facts(paths.result, AGAIN) if paths.result.is_file() else {}
    run, model, genotype = model_of(folder, data)
    # The traced program is as it was searched, what the configuration leaves alone included.
    traced = replace(run, inputs=replace(run.inputs, config=without_checkpoint(run.config, paths)))
    program, _ = rewritten(traced, _left_alone(run, paths))
    with reading(paths.result, AGAIN):
        known = _known(facts, genotype, paths)
        metrics = float(facts["valid"]), float(facts["test"])
        result = Result(genotype, model, run.inputs.task, *metrics, program.sites, tuple(program.skips), **known)
    return run, replace(result, network=network(run.inputs, result))


def _known(facts: dict[str, Any], genotype: Genotype, paths: RunFolder) -> dict[str, Any]:
    """What the files say beside the model and its metrics; what older runs did not write down stays empty."""
    with reading(paths.log, "take its last lines away, or remove it: the report then has no curves"):
        history = _history(paths.log)
    with reading(paths.evaluations, "remove it: the report then lists no evaluations"):
        evaluations = [_row(row) for row in read_log(paths.evaluations) if "fitness" in row]
    return {
        "finalists": _finalists(facts, genotype, paths),
        "race": tuple(map(Short.from_dict, facts.get("race", ()))),
        "refit": facts.get("refit"),
        "onnx_valid": None if facts["onnx_valid"] is None else float(facts["onnx_valid"]),
        "exported": ExportReport.from_dict(facts["export"]) if facts.get("export") else None,
        "int8": Int8.from_dict(facts["int8"]) if facts.get("int8") else None,
        "fp16": Half.from_dict(facts["fp16"]) if facts.get("fp16") else None,
        "files": tuple(map(FileFigures.from_dict, facts.get("files", ()))),
        "seconds": {str(name): float(seconds) for name, seconds in facts["seconds"].items()},
        "memory": {str(name): int(peak) for name, peak in facts.get("memory", {}).items()},
        "account": Account.from_dict(facts["account"]) if facts.get("account") else None,
        "history": history,
        "evaluations": evaluations,
        "ensemble": Ensemble.from_dict(facts["ensemble"]) if facts.get("ensemble") else None,
        "tuned": Tuned.load(paths.tuned) if facts.get("tuned") else None,
        "budgets": tuple(Spent(**each) for each in facts.get("budgets", ())),
        "front": Front.from_dict(facts["front"]) if facts.get("front") else None,
        "site_times": tuple(map(SiteTime.from_dict, facts.get("site_times", ()))),
        "agreement": Agreement.from_dict(facts["agreement"]) if facts.get("agreement") else None,
        "notes": list(map(str, facts["notes"])),
        "warnings": tuple(map(str, facts.get("warnings", ()))),
        "classes": _classes(facts.get("classes")),
        "outputs": tuple(OutputError(**each) for each in facts.get("outputs", ())),
        "folder": paths.root,
    }


def _finalists(facts: dict[str, Any], genotype: Genotype, paths: RunFolder) -> tuple[Standing, ...]:
    """As they stand in `result.json`; of runs that were written before it had them, from what it had."""
    figures = {name: Figures.from_dict(each) for name, each in facts.get("models", {}).items()}
    if "finalists" in facts:
        return tuple(Standing.from_dict(each, figures.get(each["origin"])) for each in facts["finalists"])
    chosen = load_genotype(paths.searched) if paths.searched.is_file() else genotype
    kept = facts.get("kept") or next(iter(figures), None)
    stages = {UNTOUCHED: "control", RANDOM: RANDOM} if facts.get("control") or RANDOM in figures else {}
    found = [
        Standing(name, name, genotype if name == kept else chosen, stages.get(name, "retrain"), each.valid)
        for name, each in figures.items()
    ]
    return tuple(replace(each, figures=figures[each.name], kept=each.name == kept) for each in found)


def _classes(facts: dict[str, Any] | None) -> ClassScores | None:
    """JSON knows lists only."""
    if facts is None:
        return None
    named = {name: tuple(facts[name]) for name in ("names", "counts", "precision", "recall")}
    return ClassScores(**named, confusion=tuple(map(tuple, facts["confusion"])), calibration=facts["calibration"])


def _history(log: Path) -> list[Epoch]:
    """Every epoch, in order; one that a resumed run went through again counts as the last time."""
    epochs = {(epoch.stage, epoch.epoch): epoch for epoch in epochs_in(log)}
    stages = list(dict.fromkeys(stage for stage, _ in epochs))
    return sorted(epochs.values(), key=lambda epoch: (stages.index(epoch.stage), epoch.epoch))


def _row(facts: dict[str, Any]) -> Row[Genotype]:
    return row_of(facts, genotype_in(facts["genome"]))


def _left_alone(run: Run, paths: RunFolder) -> dict[str, str]:
    """The sites that the run's probe left alone, if it had one."""
    return left_alone(probe_gains(paths), run.config.space.share)


@releasing
@closing
def tune_folder(
    folder: str | Path,
    config: RunConfig,
    observer: Observer = QUIET,
    *,
    workers: int | str | Workers | None = None,
) -> Tuned:
    """Tune the retraining of what an earlier run has searched; the study and its best options stay in the folder.

    Several processes, on several machines that share the folder or a database, may do so at the same time.

    Args:
        config: the run's own options, with those of `tune`.
        workers: who trains the trials, `tune.together` at a time, see `dashfx.search`.

    Raises:
        DashfxError: a run that has no finished search, or a study of another space.
    """
    if "rule" in config.tune.space:
        raise ConfigError("tune.space 'rule' would change what this run has chosen; give it to dashfx search --tune")
    paths, _ = existing_folder(folder)
    genotype = _searched(paths)
    run = prepared(paths, without_checkpoint(config, paths), observer)
    supernet = _supernet(run, paths, genotype)
    if workers is not None:
        check_alone()
        run.session.workers = workers_of(workers)
    run.open_folder(folder, together=True)

    def start(tried: Run) -> nn.Module:
        quiet = tried.silent()
        return specialised(quiet.for_retraining(), genotype) if supernet is None else lowered(quiet, supernet, genotype)

    with run.stage("tune"):
        found = tune_run(run, genotype, start)
    before = Tuned.load(paths.tuned) if paths.tuned.is_file() else found
    if before.values == found.values:
        found = replace(found, finals=before.finals)  # the best is the one that was retrained in full
    if run.session.is_main:
        write_text(paths.tuned, found.to_json())
    return found


def prepared(
    paths: RunFolder,
    config: RunConfig,
    observer: Observer = QUIET,
    *,
    data: str | None = None,
    shape_will_do: bool = False,
) -> Run:
    """The run with its data, or with noise of their shape where that will do and they are not here.

    Raises:
        RunFolderError: a model or data from Python objects, or data that are not where they were.
    """
    root, here = paths.root, data or config.data
    if config.model is None:
        raise RunFolderError(f"{root}: its model came from Python objects; use dashfx from Python with them")
    if here is None and not (shape_will_do and paths.data.is_file()):
        raise RunFolderError(f"{root}: its data came from Python objects; give --data, or use dashfx from Python")
    try:
        if here is not None:
            with asking_for_data(root, here, given=data is not None):
                return _as_told(prepare(config.model, here, config=config, observer=observer))
    except RunFolderError:
        if data is not None or not shape_will_do or not paths.data.is_file():
            raise
    # What a user's own reading and augmentation would do has been done to the shape.
    plain = config.model_copy(update={"reading": ReadingConfig(), "augment": None, "limit": None})
    run = prepare(config.model, stand_in(paths), config=plain, observer=observer)
    read = replace(run.inputs.data, reading=Reading(**config.reading.model_dump()))
    return _as_told(replace(run, inputs=replace(run.inputs, config=config, data=read, task=_task_of(paths, run))))


def _as_told(run: Run) -> Run:
    """The run with the strategy that its configuration tells, also where that was an object."""
    return replace(run, inputs=replace(run.inputs, given=strategy_told_by(run.config)))


@contextmanager
def asking_for_data(root: Path, data: str, given: bool) -> Iterator[None]:
    """Inside, a run's data are read.

    Args:
        given: the user has just said where they are.

    Raises:
        RunFolderError: they are not where they were, or are no longer what they were; what to do about it.
    """
    try:
        yield
    except DataError as error:
        if given:
            raise
        raise RunFolderError(
            f"{root}: its data {data!r} cannot be used ({error}); say where they are by --data"
        ) from None


def _task_of(paths: RunFolder, run: Run) -> Task:
    """The run's task, with the units of its targets."""
    target = read_facts(paths.data, AGAIN).get("target_normalisation")
    with reading(paths.data, AGAIN):
        units = Normalisation.from_dict(target) if target else None
    return load_task(run.config.task, run.inputs.data, target=units) if units else run.inputs.task


def without_checkpoint(config: RunConfig, paths: RunFolder) -> RunConfig:
    """The options without the checkpoint that training began with, where it is gone and the supernet's state is not."""
    gone = config.checkpoint and not Path(config.checkpoint).exists() and _state(paths)
    update = {"checkpoint": None, "new_head": False, "checkpoint_key": None}
    return config.model_copy(update=update) if gone else config


def chosen_of(paths: RunFolder) -> Genotype:
    if not paths.genotype.is_file():
        raise RunFolderError(
            f"{paths.root} holds no {paths.genotype.name}: its search has not finished; continue it with --resume"
        )
    return load_genotype(paths.genotype)


def searched_of(folder: str | Path) -> Genotype:
    """What an earlier run's search chose.

    Raises:
        RunFolderError: not a run's folder, or a run that has no finished search.
    """
    return chosen_of(existing_folder(folder)[0])


def load_genotype(path: Path) -> Genotype:
    """The choices in a run's file.

    Raises:
        RunFolderError: it is damaged.
    """
    try:
        return Genotype.load(path)
    except GenotypeError as error:
        raise RunFolderError(f"{error}; {AGAIN}") from None


def _searched(paths: RunFolder) -> Genotype:
    """What the search chose, also where the untouched model was handed back in its place."""
    return load_genotype(paths.searched) if paths.searched.is_file() else chosen_of(paths)


def with_kept_width(paths: RunFolder, config: RunConfig) -> RunConfig:
    """The options with the arguments of the model that was handed back, where that is a wider untouched one."""
    args = retrained_config(paths, config).retrain.model_args
    if args == config.retrain.model_args:
        return config
    retrain = config.retrain.model_copy(update={"model_args": args, "weights": "fresh"})
    return config.model_copy(update={"retrain": retrain})


def _supernet(run: Run, paths: RunFolder, genotype: Genotype) -> nn.Module | None:
    """The supernet as the search left it, of several searches that which `lowered` takes; None where there is none."""
    numbers = range(2, run.config.search.seeds + 1)
    states = [state for suffix in ("", *(f"-{n}" for n in numbers)) if (state := _state(paths, suffix)) is not None]
    return holding([restored(run, paths, state) for state in states], genotype) if states else None


def restored(run: Run, paths: RunFolder, state: Path) -> nn.Module:
    """The supernet of a checkpoint."""
    found = read_state(state)
    _, supernet = rewritten(run, _left_alone(run, paths))
    with reading(state, TRAIN_AGAIN):
        supernet.load_state_dict(found["learner"]["model"])
    drop_residuals(supernet)
    return supernet


def _state(paths: RunFolder, suffix: str = "") -> Path | None:
    """The file of the supernet as the search left it; the suffix is that of the stages of a further search."""
    # "settle" is what earlier versions called it
    states = [paths.checkpoints / f"{stage}{suffix}-last.pt" for stage in (ONE_BY_ONE, "settle", "search")]
    return next((file for file in states if file.is_file()), None)
