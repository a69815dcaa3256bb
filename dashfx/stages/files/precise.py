"""Int8 at chosen convs, the stage: a float file and choices go in; beside it a file with exactly these convs in int8.

What the search chose is kept where the metric and the budgets hold, as measured on the file; else bits are chosen anew
for the same kernels, from each conv's drop alone through ONNX Runtime and from what drafts of the file really cost.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from torch import nn

from dashfx.cost.budgets import Limits
from dashfx.cost.precision import Drops
from dashfx.deploy.export import folder_beside
from dashfx.deploy.quantise.choose import Int8, Judge
from dashfx.deploy.quantise.chosen import Draft, Drafts
from dashfx.errors import VerifyError, first_line
from dashfx.frontend.tracing import trace
from dashfx.genotype import INT8, Genotype
from dashfx.run.folder import write_text
from dashfx.run.run import Run
from dashfx.stages.files.finetune import finetuned, is_wanting
from dashfx.stages.files.quantise import as_exported, int8_beside, judge_of, quantised, ranging_rows

logger = logging.getLogger(__name__)

ROUNDS = 4  # of choosing bits anew after a draft was measured
STEP = 1e-4  # of a cost, so that a choice that was too dear is not made again


@dataclass(frozen=True)
class Precise:
    """The file, or why there is none (None where none was asked for), and the choices with the bits that it has."""

    file: Int8 | None
    genotype: Genotype


def int8(run: Run, before: float | None, valid: float, genotype: Genotype, model: nn.Module) -> Precise:
    """The int8 file of the run's folder, where one is asked for, and the choices with the bits that it has.

    Without budgets and without bits in the genotype it has as much in int8 as is faster and keeps the metric.

    Args:
        before: the metric of the float file on the validation part; None without a folder.
        valid: that of the model in PyTorch.
    """
    folder, plain = run.session.writes, genotype.with_bits({})
    if folder is None or before is None or not run.config.export.int8:
        return Precise(None, plain if folder else genotype)
    found = int8_of(run, folder.onnx, (before, valid), genotype, model)
    if found.genotype.bits != genotype.bits:
        write_text(folder.genotype, found.genotype.to_json())
    return found


def int8_of(run: Run, path: Path, metrics: tuple[float, float], genotype: Genotype, model: nn.Module) -> Precise:
    """Write `path` as int8 beside it: with bits that are chosen, or as far as it is faster and keeps the metric.

    Where that leaves out what the metric does not allow, the weights are fine-tuned first, if that is asked for.

    Args:
        metrics: on the validation part, of `path` through ONNX Runtime and of the model in PyTorch.
    """
    judge = judge_of(run.inputs, path, *metrics)  # of fine-tuned weights too, so that they are held to what was there

    def written(file: Path, held: nn.Module) -> tuple[Int8, Genotype]:
        with run.stage("quantise"):
            if not genotype.bits and run.limits is None:
                return quantised(run.inputs, file, judge, held), genotype
            return precise(run, file, judge, genotype, held)

    found = written(path, model)
    if run.config.export.finetune and is_wanting(found[0], genotype, found[1]):
        found = finetuned(run, model, genotype, found, int8_beside(path), written)
    return Precise(*found)


def precise(run: Run, path: Path, judge: Judge, genotype: Genotype, model: nn.Module) -> tuple[Int8, Genotype]:
    """Write `path` with some convs in int8 beside it; the file, and the choices with its bits.

    They are those that the genotype names, or the best within the budgets. Where the float file was rewritten to be
    faster, the graph as it was is tried too, see `best_form`.

    Args:
        model: what `path` holds.
    """
    out = int8_beside(path)
    try:
        with folder_beside(out) as folder:
            forms = {"": path, **as_exported(run.inputs, model, path, folder)}
            form, drafts, draft = best_form(run, forms, folder, judge, genotype, model)
            if draft is None and not drafts.known((*genotype.bits, *genotype)):
                found = Int8(None, f"no node of {path.name} bears the name of a conv that was chosen")
            elif draft is None:
                said = f"with one conv in int8 the metric on validation falls by more than {judge.limit:.2g}"
                found = Int8(None, f"{said} ({judge.why})")
            elif not draft.names:
                found = Int8(None, "the budgets hold with all convs in float")
            else:
                found = replace(drafts.kept(draft, out), form=form)
    except VerifyError:
        raise
    except Exception as error:  # ONNX Runtime's tools raise many classes
        found = Int8(None, f"ONNX Runtime cannot quantise {path.name} ({type(error).__name__}: {first_line(error)})")
    if found.path is None or draft is None:
        out.unlink(missing_ok=True)
        return found, genotype.with_bits({})
    return found, genotype.with_bits(dict.fromkeys(draft.names, INT8))


Formed = tuple[str, Drafts, Draft | None]  # what to say of the graph's form, its drafts, and the one to keep


def best_form(
    run: Run, forms: Mapping[str, Path], folder: Path, judge: Judge, genotype: Genotype, model: nn.Module
) -> Formed:
    """Of several forms of the float file, the first of which is that file, the one with the best draft.

    A draft is better that misses the budgets by less, then one with all convs in int8 that the genotype names, then the
    faster one. A form that cannot be quantised is left out, unless there is no other.

    Args:
        folder: for drafts.
    """
    rows, costs, found = ranging_rows(run.inputs), measuring(run, model), list[Formed]()
    for number, (form, path) in enumerate(forms.items()):
        (folder / str(number)).mkdir()
        try:
            drafts = Drafts(path, folder / str(number), *rows, judge, beside=next(iter(forms.values())))
            found.append((form, drafts, chosen(drafts, genotype, run.limits, costs)))
        except Exception as error:  # ONNX Runtime's tools raise many classes
            if isinstance(error, VerifyError) or (number + 1 == len(forms) and not found):
                raise
            logger.info("quantise: %s: %s", path.name, first_line(error))
    kept = [(each, draft) for each in found if (draft := each[2]) is not None]
    if len(kept) < 2:
        return kept[0][0] if kept else found[0]
    seconds = kept[0][0][1].seconds([draft.path for _, draft in kept])

    def worth(place: int) -> tuple[float, bool, float]:
        draft = kept[place][1]
        missed = _missed(run.limits, costs(draft.path)) if run.limits else 0.0
        return missed, not set(draft.names) >= set(genotype.bits), seconds[place]

    return kept[min(range(len(kept)), key=worth)][0]


Costs = Callable[[Path], Mapping[str, float]]  # of a file: a budget's text -> what it costs


def measuring(run: Run, model: nn.Module) -> Costs:
    """What files of a model cost beside each budget."""
    program, limits = trace(model, run.inputs.example), run.limits.each if run.limits else ()
    return lambda path: {limit.budget.text: limit.budget.cost.of_file(path, program) for limit in limits}


def chosen(drafts: Drafts, genotype: Genotype, limits: Limits | None, costs: Costs) -> Draft | None:
    """The draft that is kept: the choice as it is where it holds, else what holds of other bits.

    A drop that is too large is never kept; a budget that no bits hold within it is missed by as little as was found.
    """
    names, tried = drafts.known(genotype.bits), dict[Draft, float]()
    if names or limits is not None:
        draft = drafts.draft(names)  # without any that is the float file
        missed = 0.0 if limits is None else _missed(limits, costs(draft.path))
        if draft.allowed and not missed:
            return draft
        tried |= {draft: missed} if names and draft.allowed else {}
    if limits is not None:
        tried |= _anew(drafts, genotype, limits, costs)
        names = names or drafts.known(limits.each[0].own)
    return min(tried, key=lambda draft: tried[draft]) if tried else drafts.reverted(names)


def _anew(drafts: Drafts, genotype: Genotype, limits: Limits, costs: Costs) -> dict[Draft, float]:
    """Drafts within the drop and by how much they miss the budgets, the last one perhaps by nothing.

    After a draft that the metric does not allow, less of a drop may be planned for; after one that costs too much, as
    much less as it costs more than was planned.
    """
    tried: dict[Draft, float] = {}
    planned = replace(limits, drops=_drops(drafts, limits))
    for _ in range(ROUNDS):
        settled = planned.settled(genotype)
        if settled is None:
            break
        draft = drafts.draft(settled.bits)
        found = costs(draft.path)
        if not draft.allowed:
            planned = _safer(planned, settled)
            continue
        tried[draft] = _missed(limits, found)
        if not tried[draft]:
            break
        planned = _tighter(planned, limits, settled, found)
    return tried


def _missed(limits: Limits, costs: Mapping[str, float]) -> float:
    """By how much the budgets are missed, as a share of the one that is missed by the most."""
    return max((costs[e.budget.text] / e.most - 1 for e in limits.each if not e.holds(costs[e.budget.text])), default=0)


def _tighter(planned: Limits, limits: Limits, settled: Genotype, costs: Mapping[str, float]) -> Limits:
    """Less to plan with where a file costs more than a budget allows, by that share, and less than the choice took."""
    each = []
    for plan, limit in zip(planned.each, limits.each, strict=True):
        cost = costs[limit.budget.text]
        less = min(plan.most * limit.most / cost, plan.total(settled) * (1 - STEP)) if not limit.holds(cost) else None
        each.append(plan if less is None else replace(plan, most=less))
    return replace(planned, each=tuple(each))


def _safer(planned: Limits, settled: Genotype) -> Limits:
    """Limits that allow half of the drop that was planned."""
    drops = planned.drops
    return replace(planned, drops=replace(drops, most=min(drops.most, sum(map(drops.drop, settled.bits))) / 2))


def _drops(drafts: Drafts, limits: Limits) -> Drops:
    """Measured through ONNX Runtime; what the file has no node of is never in int8."""
    own, judge = limits.each[0].own, drafts.judge
    known = drafts.known(own)
    metric = {name: drafts.drop(name) if name in known else math.nan for name in own}
    return Drops(metric, {name: drafts.error(name) for name in known}, judge.limit)
