"""The whole pipeline: a model and data go in; a searched, retrained and exported model and its run folder come out.

Read `search` from top to bottom: its stages have the same names here, in the log, in the report and in errors.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from dashfx.config.run import RunConfig
from dashfx.data.splits.folds import check_folds
from dashfx.frontend.tracing import Program, copy_model, trace
from dashfx.genotype import Genotype
from dashfx.run.files.lock import releasing
from dashfx.run.folder import write_text
from dashfx.run.inputs import ModelLike
from dashfx.run.preflight import check_search, check_training
from dashfx.run.prepare import prepare
from dashfx.run.result import SEARCHED, Result
from dashfx.run.run import Run
from dashfx.space import SearchSpace
from dashfx.stages.budget import budgeted
from dashfx.stages.compare import compared
from dashfx.stages.costs.front import check_front, fronted
from dashfx.stages.costs.limits import fixed, limited
from dashfx.stages.ensemble.average import averaged
from dashfx.stages.ensemble.distil import distilled
from dashfx.stages.ensemble.members import check_ensemble
from dashfx.stages.export import opened
from dashfx.stages.files.complete import check_complete
from dashfx.stages.files.deliver import delivered
from dashfx.stages.finalists import (
    RETRAIN,
    Finalist,
    Lineup,
    chance_of,
    choice_ratio,
    decided,
    epoch_ratio,
    lined_up,
    planned_epochs,
    raced,
    search_work,
    start_from,
    step_work,
)
from dashfx.stages.finalists.refit import refitted
from dashfx.stages.finalists.widths import check_wider
from dashfx.stages.retrain import check_paths, epochs_of, specialised
from dashfx.stages.rewrite import probed, retrained_sites, rewritten
from dashfx.stages.search import check_strategy, proposed, searched
from dashfx.stages.tune import check_space, tuned
from dashfx.strategies.base import Strategy
from dashfx.task import Task
from dashfx.train.progress import QUIET, Observer
from dashfx.workers import Workers, closing, workers_of


@releasing
@closing
def search(
    model: ModelLike,
    data: Any,
    *,
    task: str | Task | None = None,
    space: SearchSpace | None = None,
    strategy: str | Strategy | None = None,
    out: str | Path | None = None,
    config: RunConfig | Mapping[str, Any] | None = None,
    observer: Observer = QUIET,
    resume: bool = False,
    workers: int | str | Workers | None = None,
) -> Result:
    """Find a kernel size and dilation for each conv of `model` on `data`, retrain, and export a checked ONNX file.

    Args:
        model: `file.py:Class`, a class, a factory or an instance; a checkpoint is named in `config`.
        data: whatever `load_data` takes.
        task: "classify", "multilabel", "regress", `file.py:function` or a Task; by default what the data suggests.
        space: the candidates; by default the configuration's.
        strategy: an object such as `Gradient(rule=Energy())` or `BlackBox(Evolution(), ByProxy("gennas"))`, or text:
            "dash"; "ladder" proposes a few spans by rule; "evolution", "random-search" and "local" ask an evaluator
            what genotypes are worth; "random" and "untouched" are the controls that go through the same retraining;
            `file.py:Class` is a user's own.
        out: the run's folder; without it nothing is written and no ONNX file is made.
        resume: continue the run in `out`.
        workers: who does independent trainings: so many processes, `dask://HOST:PORT`, a dask scheduler's file, or
            workers that are there already; any number of them comes to the same.

    Raises:
        DashfxError: bad input, in one line that says what to do.
    """
    run = prepare(
        model,
        data,
        task=task,
        space=space,
        strategy=strategy,
        out=out,
        config=config,
        observer=observer,
        resume=resume,
        check=check_search,
        workers=workers_of(workers),
    )
    program, supernet = rewritten(run)  # trace, canonicalise, substitute, prune, annotate
    check_options(run, program, supernet)
    check_front(run.config, run.strategy)
    run = limited(run, supernet, out)
    if out is not None:
        opened(run, out)  # all that a user can get wrong has been checked by now
    program, supernet = probed(run, program, supernet)
    chance, step, start = chance_of(run, supernet), step_work(run, supernet), start_from(supernet)
    run = budgeted(run, supernet)
    bounds, ratios = epochs_of(run), (epoch_ratio(run, supernet), choice_ratio(run, supernet))
    planned = planned_epochs(run.config, bounds, proposed(run), *ratios)
    run.session.observer.planned(planned, at_most=not bounds.given)
    proposals = searched(run, supernet)
    front = fronted(run, supernet)
    search = search_work(run, step)
    race = raced(run, proposals, program.sites, start)
    tuning = tuned(run, supernet, kept(run, race.first))
    lineup = lined_up(run, supernet, race, tuning, chance, search, planned)
    decision = distilled(decided(run, lineup, start, program, tuning), start)
    decision = refitted(decision, start)
    return delivered(decision, compared(decision), program.skips, averaged(decision), front)


@releasing
def retrain_genotype(
    model: ModelLike,
    data: Any,
    genotype: Genotype,
    *,
    start: nn.Module | None = None,
    task: str | Task | None = None,
    out: str | Path | None = None,
    config: RunConfig | Mapping[str, Any] | None = None,
    observer: Observer = QUIET,
    resume: bool = False,
) -> Result:
    """Train and export `model` with the kernels of a genotype that is known already.

    Args:
        start: the lowered model to start from, such as `dashfx.stages.reopen.lowered_of(folder)`; without it the
            model's fresh weights, or its checkpoint's.

    Raises:
        DashfxError: bad input, or a genotype of another model.
    """
    run = prepare(
        model, data, task=task, out=out, config=config, observer=observer, resume=resume, check=check_training
    ).for_retraining()
    check_folds(run.inputs.data, run.config.finalists.folds, run.config.seed)
    with run.stage("trace"):
        program = trace(run.inputs.given_model(), run.inputs.example)
    plain = start or specialised(run, genotype)
    check_complete(run.inputs)
    run = fixed(run, genotype)

    def start_of(seeded: Run, _: Finalist) -> nn.Module:
        """The same start for every seed, where one was given or the run's seed has drawn it."""
        own = start is not None or seeded.config.seed == run.config.seed
        return copy_model(plain) if own else specialised(seeded, genotype)

    if out is not None:
        opened(run, out)
    run = budgeted(run, None, kept(run, genotype))
    finalist = Finalist(SEARCHED, SEARCHED, genotype, run.config, RETRAIN, f"{run.config.retrain.weights} weights")
    decision = refitted(decided(run, Lineup((finalist,), controls=False), start_of, program), start_of)
    return delivered(decision, compared(decision), program.skips, averaged(decision))


def check_options(run: Run, program: Program, supernet: nn.Module) -> None:
    """Whether what the options name is there and fits the traced model; nothing is written before.

    Raises:
        DashfxError: an evaluator, a space of tuning, a width, folds or an ensemble that cannot be used.
    """
    check_strategy(run, supernet)
    if run.config.tune.wanted:
        check_space(run)
    retrained_sites(run, program)
    check_wider(run, program)
    check_folds(run.inputs.data, run.config.finalists.folds, run.config.seed)
    check_ensemble(run)
    check_complete(run.inputs)
    check_paths(run)


def kept(run: Run, genotype: Genotype) -> Genotype:
    """The genotype, which stands in the run's folder from here on."""
    if folder := run.session.writes:
        write_text(folder.genotype, genotype.to_json())
    return genotype
