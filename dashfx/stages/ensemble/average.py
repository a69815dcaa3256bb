"""Ensemble, the stage: the best trained models averaged, measured beside the single one, and written to a file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import torch

from dashfx.config.search import AUTO
from dashfx.cost.latency import compare
from dashfx.deploy.programs.averaged import Averaged
from dashfx.deploy.programs.loader_ensemble import Part, write_ensemble
from dashfx.errors import ExportError, VerifyError, first_line
from dashfx.frontend.model import build
from dashfx.run.outcome.ensemble import Ensemble, Member
from dashfx.run.result import DISTILLED
from dashfx.run.run import Run
from dashfx.stages.compare import metric_of
from dashfx.stages.costs.clock import CLOSING, by_clock
from dashfx.stages.ensemble.members import Training, members_of, steps_to, trainings_of
from dashfx.stages.export import metadata, write_onnx
from dashfx.stages.finalists import Decision
from dashfx.stages.finalists.lengths import REFIT

STAGE = "ensemble"
IN_FLOAT = "int8: the ensemble's file stays in float; the int8 file is the single model's"


def averaged(decision: Decision) -> Ensemble | None:
    """The average of as many models as the options ask for, measured on validation and, once, on the test part.

    None where none is asked for. Where fewer than two models are left to average, or one that answers otherwise than
    the others, or the file is not what PyTorch computes, `why` says so and the run goes on.
    """
    run, kept, average = decision.run, decision.kept, decision.run.inputs.task.average
    asked, wanted = run.config.ensemble.count, run.config.ensemble.wanted
    if not wanted or kept.model is None:
        return None
    members = members_of(decision)
    why = unfit(run, members)
    if why and asked == AUTO:
        return None
    if why:
        run.note(f"{STAGE}: {why}")
        return Ensemble(why=why)
    if asked == AUTO and run.config.budget and not by_clock(run, STAGE, lambda left: left > 2 * CLOSING):
        run.note(f"{STAGE}: none, the budget of {run.config.budget} leaves no time for a second file")
        return None
    if len(members) < wanted:
        run.note(f"{STAGE}: {len(members)} models instead of {wanted}; the run has no more to average")
    models = [each.model for each in members]
    with run.stage(STAGE, f"{len(models)} models"):
        whole = Averaged(models, str(average)).eval()
        # A model that has learned from the validation part is worth there what the judged one was.
        single, judged = decision.refit or kept.model, {"alone": kept.model, STAGE: whole}
        pair = {"alone": single, STAGE: whole}
        metrics = {
            name: (metric_of(run, judged[name], "valid"), metric_of(run, model, "test")) for name, model in pair.items()
        }
        figures = compare(pair, metrics, run.inputs.example[:1], timed=run.session.writes is not None)
        found = Ensemble(
            tuple(Member(m.name, m.stage, m.valid, steps_to(run, [m])) for m in members),
            whole.average,
            figures[STAGE],
            figures["alone"],
            steps_to(run, members),
            steps_to_kept(decision, members),
        )
        found = written(decision, members, whole, found)
    run.note(found.sentence(run.inputs.task.metric_name))
    if run.limits is not None:
        run.note(f"{STAGE}: {run.limits} holds for each of its models, not for the ensemble, which costs all of them")
    return found


def unfit(run: Run, members: Sequence[Training]) -> str:
    """Why these models cannot be averaged, in a line; "" where they can."""
    if len(members) < 2:
        return (
            f"{len(members)} model that may be handed back was trained to its end, so there is none to average it with"
        )
    if run.inputs.task.average is None:
        return f"task {run.inputs.task.name} does not say how outputs are averaged (Task.average), so there is none"
    x, shapes = run.inputs.example, dict[str, str]()
    with torch.no_grad():
        for each in members:
            output = each.model(x)
            shapes[each.name] = f"{tuple(output.shape[1:])}" if isinstance(output, torch.Tensor) else "no tensor"
    if len(set(shapes.values())) > 1:
        said = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        return f"the models give different outputs ({said}), which have no average"
    return ""


def steps_to_kept(decision: Decision, members: Sequence[Training]) -> int:
    """Steps of all training that led to the model that is handed back, those of its teachers and a refit included."""
    kept, history = decision.kept, decision.run.ledger.history
    teachers = members if kept.finalist.origin == DISTILLED else ()
    refit = sum(epoch.steps for epoch in history if epoch.stage == REFIT)
    return steps_to(decision.run, [*trainings_of(decision.run, kept), *teachers]) + refit


def written(decision: Decision, members: Sequence[Training], whole: Averaged, found: Ensemble) -> Ensemble:
    """With the files in the run's folder: the ONNX file, checked as any, and what rebuilds the average in PyTorch."""
    run, folder = decision.run, decision.run.session.writes
    if folder is None or found.figures is None:
        return found
    genotypes = {each.name: json.loads(each.finalist.genotype.to_json()) for each in members}
    facts = metadata(run.inputs.data, run.inputs.task, decision.kept.finalist.genotype)
    del facts["genotype"]  # it has several
    facts[STAGE] = json.dumps({"average": whole.average, "members": genotypes})
    if run.config.export.int8:
        run.note(IN_FLOAT)
    try:
        parts = [part_of(run, each) for each in members]
        write_ensemble(folder.ensemble_loader, folder.members, parts, whole.average)
        report, valid = write_onnx(run.inputs, whole, facts, folder.ensemble, found.figures.valid)
    except (ExportError, VerifyError) as error:
        return replace(found, why=first_line(error))
    return replace(found, exported=report, onnx_valid=valid)


def part_of(run: Run, each: Training) -> Part:
    """What the member's loader is written from."""
    recipe, modules = each.finalist.recipe, dict(each.model.named_modules(remove_duplicate=False))
    names = [name for name in each.finalist.genotype if name in modules]
    source = run.inputs.source.with_only({**recipe.model_args, **recipe.retrain.model_args})
    chosen = each.finalist.genotype
    differing = chosen.is_grown, bool(chosen.widths)
    return Part(each.model, build(source, recipe.seed), source.spec, source.args, names, *differing)
