"""An earlier run's folder goes in; its run, lowered or trained model, result or tuned options come out."""

from __future__ import annotations

import json
import math
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_model as load_weights
from torch import nn

from dashfx.blackbox.base import Row
from dashfx.config.files import read_yaml
from dashfx.config.run import RunConfig
from dashfx.cost.latency import Figures
from dashfx.deploy.export import ExportReport
from dashfx.errors import ConfigError, RunFolderError
from dashfx.genotype import Genotype
from dashfx.ops import drop_residuals
from dashfx.report.network import network
from dashfx.run.folder import RunFolder, existing_folder, write_text
from dashfx.run.prepare import prepare
from dashfx.run.result import RANDOM, UNTOUCHED, Result, Standing
from dashfx.run.run import Run
from dashfx.space import Candidate
from dashfx.stages.retrain import lowered, specialised
from dashfx.stages.rewrite import probe_gains, rewritten
from dashfx.stages.tune import tune_run
from dashfx.strategies.named import strategy_told_by
from dashfx.strategies.one_by_one import STAGE as ONE_BY_ONE
from dashfx.strategies.probe import left_alone
from dashfx.supernet import lower
from dashfx.train.progress import QUIET, Epoch, Observer, read_log
from dashfx.tune import Tuned


def lowered_of(folder: str | Path) -> tuple[nn.Module, Genotype]:
    """The lowered model as the search of an earlier run left it, before any retraining.

    Raises:
        RunFolderError: not a run's folder, or a run that has no finished search.
    """
    paths, config = existing_folder(folder)
    run, genotype = _prepared(folder, config), _searched(paths)
    supernet = _supernet(run, paths)
    if supernet is None:
        return specialised(run, genotype), genotype
    return lower(supernet, genotype, "inherit" if run.strategy.judges_mixtures else "own"), genotype


def model_of(folder: str | Path) -> tuple[Run, nn.Module, Genotype]:
    """The run of an earlier folder with its data, and its trained model.

    Raises:
        RunFolderError: not a run's folder, or a run that has not finished.
    """
    paths, config = existing_folder(folder)
    if paths.retrained.is_file():
        config = RunConfig.parse(read_yaml(paths.retrained))
    alone = config.model_copy(update={"checkpoint": None})  # the run's own weights go over it; it may be gone by now
    run, genotype = _prepared(folder, alone).for_retraining().with_config(config), _chosen(paths)
    if not paths.weights.is_file():
        raise RunFolderError(
            f"{folder} holds no {paths.weights.name}: the run has not finished; continue it with --resume"
        )
    plain = specialised(run, genotype)
    load_weights(plain, paths.weights)
    return run, plain.eval(), genotype


def result_of(folder: str | Path) -> tuple[Run, Result]:
    """The run of an earlier folder, and its result as the search handed it back, with all that the report shows.

    Raises:
        RunFolderError: not a run's folder, a run that has not finished, or files that are not its own.
    """
    run, model, genotype = model_of(folder)
    paths = RunFolder(Path(folder))
    try:
        facts = json.loads(paths.result.read_text(encoding="utf-8"))
        # The traced program is as it was searched, what the configuration leaves alone included.
        program, _ = rewritten(run, _left_alone(run, paths))
        known = _known(facts, genotype, paths)
        sites, skips = program.sites, tuple(program.skips)
        result = Result(genotype, model, run.inputs.task, facts["valid"], facts["test"], sites, skips, **known)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunFolderError(f"{folder}: its result cannot be read ({error!r}); run the search again") from None
    return run, replace(result, network=network(run.inputs, result))


def _known(facts: dict[str, Any], genotype: Genotype, paths: RunFolder) -> dict[str, Any]:
    """What the files say beside the model and its metrics; what older runs did not write down stays empty."""
    return {
        "finalists": _finalists(facts, genotype, paths),
        "onnx_valid": facts["onnx_valid"],
        "exported": ExportReport.from_dict(facts["export"]) if facts.get("export") else None,
        "seconds": facts["seconds"],
        "memory": facts.get("memory", {}),
        "history": _history(paths.log),
        "evaluations": [_row(row) for row in read_log(paths.evaluations) if "fitness" in row],
        "tuned": Tuned.load(paths.tuned) if facts.get("tuned") else None,
        "notes": facts["notes"],
        "folder": paths.root,
    }


def _finalists(facts: dict[str, Any], genotype: Genotype, paths: RunFolder) -> tuple[Standing, ...]:
    """As they stand in `result.json`; of runs that were written before it had them, from what it had."""
    figures = {name: Figures.from_dict(each) for name, each in facts.get("models", {}).items()}
    if "finalists" in facts:
        return tuple(_standing(each, figures) for each in facts["finalists"])
    chosen = Genotype.load(paths.searched) if paths.searched.is_file() else genotype
    kept = facts.get("kept") or next(iter(figures), None)
    stages = {UNTOUCHED: "control", RANDOM: RANDOM} if facts.get("control") or RANDOM in figures else {}
    found = [
        Standing(name, name, genotype if name == kept else chosen, stages.get(name, "retrain"), each.valid)
        for name, each in figures.items()
    ]
    return tuple(replace(each, figures=figures[each.name], kept=each.name == kept) for each in found)


def _standing(facts: dict[str, Any], figures: dict[str, Figures]) -> Standing:
    choices = {name: Candidate.from_dict(choice) for name, choice in facts["genotype"].items()}
    return Standing(
        facts["name"],
        facts["origin"],
        Genotype(choices, facts["rule"]),
        facts["stage"],
        facts["valid"],
        facts["steps"],
        facts["search_steps"],
        None if facts["test"] is None else figures[facts["origin"]],
        facts["kept"],
    )


def _history(log: Path) -> list[Epoch]:
    """Every epoch, in order; one that a resumed run went through again counts as the last time."""
    known = {field.name for field in fields(Epoch)}
    epochs: dict[tuple[str, int], Epoch] = {}
    for event in read_log(log):
        if event["event"] == "epoch":
            mixtures = {name: (share, candidate) for name, (share, candidate) in event["mixtures"].items()}
            epoch = Epoch(**{**{key: event[key] for key in known & event.keys()}, "mixtures": mixtures})
            epochs[epoch.stage, epoch.epoch] = epoch
    return list(epochs.values())


def _row(facts: dict[str, Any]) -> Row[Genotype]:
    genotype = Genotype({name: Candidate.from_dict(choice) for name, choice in facts["genome"].items()})
    fitness = -math.inf if facts["fitness"] is None else facts["fitness"]
    return Row(facts["number"], genotype, facts["value"], fitness, facts["parent"], facts["seconds"])


def _left_alone(run: Run, paths: RunFolder) -> dict[str, str]:
    """The sites that the run's probe left alone, if it had one."""
    return left_alone(probe_gains(paths), run.config.space.share)


def tune_folder(folder: str | Path, config: RunConfig, observer: Observer = QUIET) -> Tuned:
    """Tune the retraining of what an earlier run has searched; the study and its best options stay in the folder.

    Several processes, on several machines that share the folder or a database, may do so at the same time.

    Args:
        config: the run's own options, with those of `tune`.

    Raises:
        DashfxError: a run that has no finished search, or a study of another space.
    """
    if "rule" in config.tune.space:
        raise ConfigError("tune.space 'rule' would change what this run has chosen; give it to dashfx search --tune")
    paths, _ = existing_folder(folder)
    run, genotype = _prepared(folder, config, observer), _searched(paths)
    supernet = _supernet(run, paths)
    run.open_folder(folder)

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


def _prepared(folder: str | Path, config: RunConfig, observer: Observer = QUIET) -> Run:
    if config.model is None or config.data is None:
        raise RunFolderError(f"{folder}: its model or data came from Python objects; use dashfx from Python with them")
    run = prepare(config.model, config.data, config=config, observer=observer)
    return replace(run, inputs=replace(run.inputs, given=strategy_told_by(config)))


def _chosen(paths: RunFolder) -> Genotype:
    if not paths.genotype.is_file():
        raise RunFolderError(
            f"{paths.root} holds no {paths.genotype.name}: its search has not finished; continue it with --resume"
        )
    return Genotype.load(paths.genotype)


def _searched(paths: RunFolder) -> Genotype:
    """What the search chose, also where the untouched model was handed back in its place."""
    return Genotype.load(paths.searched) if paths.searched.is_file() else _chosen(paths)


def _supernet(run: Run, paths: RunFolder) -> nn.Module | None:
    """The supernet as the search left it; None where the search trained none."""
    # "settle" is what earlier versions called it
    states = [paths.checkpoints / f"{stage}-last.pt" for stage in (ONE_BY_ONE, "settle", "search")]
    state = next((file for file in states if file.is_file()), None)
    if state is None:
        return None
    _, supernet = rewritten(run, _left_alone(run, paths))
    supernet.load_state_dict(torch.load(state, "cpu", weights_only=True)["learner"]["model"])
    drop_residuals(supernet)
    return supernet
