"""The compare stage: each finalist once on the test part, on which nothing is chosen, with its size and latency."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import nn

from dashfx.cost.latency import Figures, Place, compare
from dashfx.run.result import DISTILLED, Standing
from dashfx.run.run import Run
from dashfx.stages.costs.limits import place_of
from dashfx.stages.ensemble.members import members_of, steps_to
from dashfx.stages.finalists import Decision, Trained
from dashfx.task import output_errors, scores_by_class
from dashfx.task.lead import Answers, Lead, answers, lead
from dashfx.task.voting import voters
from dashfx.train.answering import answering
from dashfx.train.fit import metric_over
from dashfx.train.pace import of_supernet

MOST_VALUES = 2**26  # answers of one model that are kept for an interval: 256 MiB


def compared(decision: Decision) -> list[Standing]:
    """How each finalist did; recipes that lost on validation are not measured on the test part."""
    run, measured = decision.run, decision.compared
    with run.stage("compare", f"{len(measured)} models"):
        models = {str(i): each.model for i, each in enumerate(measured) if each.model is not None}
        metrics = {i: (measured[int(i)].valid, metric_of(run, model, "test")) for i, model in models.items()}
        timed, place = run.session.writes is not None, Place(**place_of(run.config))
        figures = compare(models, metrics, run.inputs.example[:1], timed, place)
        leads = leads_of(decision)
    found = {id(each): figures[str(i)] for i, each in enumerate(measured)}
    before = {decision.searched.finalist.origin: run.ledger.steps(of_supernet)}
    if any(each.finalist.origin == DISTILLED for each in decision.trained):
        before[DISTILLED] = steps_to(run, members_of(decision))
    return [_standing(decision, each, found.get(id(each)), leads.get(id(each)), before) for each in decision.trained]


def _standing(
    decision: Decision, each: Trained, figures: Figures | None, lead: Lead | None, before: Mapping[str, int]
) -> Standing:
    return Standing(
        each.finalist.name,
        each.finalist.origin,
        each.finalist.genotype,
        each.finalist.stage,
        each.valid,
        each.steps,
        before.get(each.finalist.origin, 0),
        figures,
        each is decision.kept,
        each.judged,
        each.spread,
        max(1, len(each.seeds)),
        decision.cost(each),
        lead,
        decision.led_to(each) if each.work else None,
    )


def leads_of(decision: Decision) -> dict[int, Lead]:
    """Of each model but searched ones, by its identity: how far the searched model is ahead on the validation part."""
    run, searched = decision.run, decision.searched
    others = [each for each in decision.compared if each.finalist.origin != searched.finalist.origin]
    data = run.inputs.data
    if not others or searched.model is None or len(data.valid) * math.prod(data.output_shape) > MOST_VALUES:
        return {}
    own, leads = answers_of(run, searched.model), {}
    for each in others:
        assert each.model is not None  # what diverged is not compared
        leads[id(each)] = lead(run.inputs.task, own, answers_of(run, each.model))
    return leads


def answers_of(run: Run, model: nn.Module) -> Answers:
    """What a plain model says of each row of the validation part, in every process; it ends on the CPU."""
    accelerator = run.session.accelerator
    loader = run.inputs.data.loader("valid", 4 * run.config.retrain.batch_size)
    prepared = accelerator.prepare_data_loader(loader)
    with answering(run.session.accelerator, model) as predict:
        pairs = ((predict(x), y) for x, y in prepared)
        return answers((accelerator.gather_for_metrics(pair) for pair in pairs), voters(loader))


def metric_of(run: Run, plain: nn.Module, part: str) -> float:
    """The metric of a plain model over a part of the data; the model ends on the CPU, in eval mode."""
    inputs, accelerator = run.inputs, run.session.accelerator
    loader = inputs.data.loader(part, 4 * inputs.config.retrain.batch_size)
    with answering(run.session.accelerator, plain) as predict:
        return metric_over(predict, loader, inputs.task, accelerator)


def details(run: Run, plain: nn.Module) -> dict[str, Any]:
    """How a model does on each class, or with each output, of the test part: `classes` and `outputs` of a Result."""
    task, data = run.inputs.task, run.inputs.data
    loader, held = (data.loader(part, 4 * run.config.retrain.batch_size) for part in ("test", "valid"))
    with answering(run.session.accelerator, plain) as predict:
        return {
            "classes": scores_by_class(predict, loader, task, data, held),
            "outputs": output_errors(predict, loader, task, data),
        }
