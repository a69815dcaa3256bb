"""Distil, the stage: the model that would be handed back is trained once more, on the ensemble's answers too."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from statistics import fmean

from dashfx.deploy.programs.averaged import Averaged
from dashfx.errors import DivergedError
from dashfx.frontend.tracing import copy_model
from dashfx.run.result import DISTILLED
from dashfx.stages.ensemble.members import Training, members_of
from dashfx.stages.finalists import DISTIL, Decision, Finalist, Start, Trained
from dashfx.stages.finalists.training import judged
from dashfx.stages.retrain import plan, retrain
from dashfx.train.distillation import Distilled


def distilled(decision: Decision, start: Start) -> Decision:
    """The decision with one more finalist, where the options ask for it; it is kept only where it is better.

    It has the kept model's genotype and recipe, starts from the same weights, and sees another order of the rows. It is
    judged as all finalists are.
    """
    run, kept, options = decision.run, decision.kept, decision.run.config.ensemble
    members = members_of(decision) if options.distil else []
    if len(members) < 2 or run.inputs.task.average is None:
        return decision
    teacher = Averaged([copy_model(each.model) for each in members], run.inputs.task.average)
    by_recipe = run.with_config(kept.finalist.recipe)
    what = f"the {kept.finalist.name} model on the answers of {len(members)}"
    finalist = Finalist(DISTILLED, DISTILLED, kept.finalist.genotype, kept.finalist.recipe, DISTIL, what)
    model = start(by_recipe, kept.finalist)
    learner = partial(Distilled, teacher=teacher, share=options.share, temperature=options.temperature)
    try:
        with run.stage(DISTIL, plan(what, by_recipe)):
            done = retrain(by_recipe.for_retraining(), model, DISTIL, learner)
        found = judged(by_recipe, finalist, [done])
        found = replace(found, work=found.work + work_of_teachers(decision, members))
    except DivergedError:
        run.note(f"{DISTIL}: the training diverges, so the {kept.finalist.name} model stays")
        found = Trained(finalist, None, math.nan)
    return decided_again(decision, found)


def work_of_teachers(decision: Decision, members: Sequence[Training]) -> float:
    """Of all that led to the members and to the choice that is distilled.

    Where the search found one of them, so did all that the best searched model was chosen from, see `Decision.led_to`.
    """
    found, origin = decision.searched, decision.searched.finalist.origin
    teachers = [each for each in decision.trained if any(each.finalist is member.finalist for member in members)]
    by_search = any(each.finalist.origin == origin for each in [*teachers, decision.kept])
    others = sum(each.work for each in teachers if each.finalist.origin != origin)
    return others + (decision.led_to(found) if by_search else 0.0)


def decided_again(decision: Decision, found: Trained) -> Decision:
    """The decision with the distilled model among the trained ones, and kept where it is better on validation.

    It is trained on the run's own split alone, so it is held to the kept model's trainings there: other folds have
    other rows.
    """
    run, kept = decision.run, decision.kept
    alone = fmean(done.judged for done in kept.seeds[:: run.config.finalists.folds])
    better = found.model is not None and run.inputs.task.better(found.judged, alone)
    if found.model is not None:
        end = "it is handed back" if better else "not better, so that one stays"
        values = f"{run.inputs.task.metric_name} on validation {found.judged:.4f}"
        run.note(f"{DISTIL}: {values}, {alone:.4f} of the {kept.finalist.name} model by itself; {end}")
    return replace(decision, trained=(*decision.trained, found), kept=found if better else kept)
