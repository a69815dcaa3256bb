"""Deliver, the stage: the kept model's files, the result that tells all of the run, its summary and page."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import replace

from dashfx.report.models import notebook
from dashfx.report.network import network
from dashfx.report.page import write_report
from dashfx.report.warnings import warnings_of
from dashfx.run.folder import RunFolder, write_text
from dashfx.run.outcome.account import account, row_of
from dashfx.run.outcome.ensemble import Ensemble
from dashfx.run.outcome.front import Front
from dashfx.run.result import SEARCHED, UNTOUCHED, Result, Standing
from dashfx.run.run import Run
from dashfx.site import Skip
from dashfx.stages.compare import details, metric_of
from dashfx.stages.costs.front import site_times
from dashfx.stages.costs.limits import spent
from dashfx.stages.export import exported
from dashfx.stages.files.complete import complete
from dashfx.stages.files.half import compared_files, fp16
from dashfx.stages.files.precise import int8
from dashfx.stages.finalists import Decision
from dashfx.stages.jobs.hand_out import swept
from dashfx.stages.search import agreement_of


def delivered(
    decision: Decision,
    standings: Sequence[Standing],
    skips: Iterable[Skip],
    ensemble: Ensemble | None = None,
    front: Front | None = None,
) -> Result:
    """The model that is kept, with its files in the run's folder, and the finalists beside it."""
    run, kept = decision.run, decision.kept
    genotype, model = kept.finalist.genotype, decision.refit or kept.model
    assert model is not None  # one that diverged is not kept
    # A model that has learned from the validation part is held to its own answers there, whatever they are worth.
    seen = metric_of(run, model, "valid") if decision.refit else None
    test = next(each.figures.test for each in standings if each.kept and each.figures)
    valid = kept.valid if seen is None else seen
    report, onnx_valid = exported(run, model, genotype, decision.sites, valid)
    small = int8(run, onnx_valid, valid, genotype, model)
    half = fp16(run)
    path = small.file.path if small.file and small.genotype.bits else report.path if report else None
    complete(run, model)
    result = Result(
        small.genotype,
        model,
        run.inputs.task,
        kept.valid,
        metric_of(run, model, "test") if decision.refit else test,
        decision.sites,
        tuple(skips),
        tuple(standings),
        race=decision.short,
        refit=seen,
        onnx_valid=onnx_valid,
        exported=report,
        int8=small.file,
        fp16=half,
        files=compared_files(run, onnx_valid, small.file, half),
        tuned=decision.tuned,
        ensemble=ensemble,
        front=front,
        site_times=site_times(run, genotype, decision.sites),
        budgets=spent(run, small.genotype, model, path),
        **details(run, model),
    )
    if result.outcome:
        run.note(f"control: {result.outcome}")
    return finished(run, result)


def finished(run: Run, result: Result) -> Result:
    """The result with all that only the whole run tells, and its summary and page in the run's folder."""
    ledger, folder = run.ledger, run.session.writes
    with run.stage("report") if run.session.folder else nullcontext():
        result = replace(
            result,
            seconds=ledger.seconds,
            memory=ledger.memory,
            history=ledger.history,
            evaluations=ledger.evaluations,
            agreement=agreement_of(run),
            notes=ledger.notes,
            folder=folder.root if folder else None,
            network=network(run.inputs, result) if folder else None,
        )
        warnings = tuple(warnings_of(result, run.config, run.inputs.data))
        result = accounted(run, replace(result, html=notebook(result), warnings=warnings))
        if folder:
            _write(folder, result)
            write_report(folder.report, result, run.config, run.inputs.data)
            swept(folder)
    result = accounted(run, result)  # with the page's own time, which the page cannot know
    if folder:
        _write(folder, result)
    run.session.wait()
    return result


def _write(folder: RunFolder, result: Result) -> None:
    write_text(folder.result, json.dumps(result.to_dict(), indent=2) + "\n")


def accounted(run: Run, result: Result) -> Result:
    """With where the time has gone so far."""
    control = result.finalist(UNTOUCHED) or (None if result.changed else result.finalist(SEARCHED))
    ledger, untouched = run.ledger, row_of(control.stage) if control else None
    return replace(
        result, account=account(ledger.seconds, ledger.parts, ledger.history, run.session.elapsed, untouched)
    )
