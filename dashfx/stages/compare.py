"""The compare stage: each finalist once on the test part, on which nothing is chosen, with its size and latency."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from accelerate.utils import convert_to_fp32
from torch import Tensor, nn

from dashfx.cost.latency import compare
from dashfx.run.result import DISTILLED, SEARCHED, Standing
from dashfx.run.run import Run
from dashfx.stages.ensemble.members import members_of, steps_to
from dashfx.stages.finalists import Decision
from dashfx.strategies.one_by_one import STAGE as ONE_BY_ONE
from dashfx.task import output_errors, scores_by_class
from dashfx.train.fit import metric_over


def compared(decision: Decision) -> list[Standing]:
    """How each finalist did; recipes that lost on validation are not measured on the test part."""
    run = decision.run
    measured = {each.finalist.origin: each for each in decision.compared}
    models = {origin: each.model for origin, each in measured.items() if each.model is not None}
    with run.stage("compare", f"{len(models)} models"):
        metrics = {origin: (measured[origin].valid, metric_of(run, model, "test")) for origin, model in models.items()}
        figures = compare(models, metrics, run.inputs.example[:1], timed=run.session.writes is not None)
    before = {SEARCHED: steps_of(run, "search", ONE_BY_ONE)}
    if any(each.finalist.origin == DISTILLED for each in decision.trained):
        before[DISTILLED] = steps_to(run, members_of(decision))
    return [
        Standing(
            each.finalist.name,
            each.finalist.origin,
            each.finalist.genotype,
            each.finalist.stage,
            each.valid,
            steps_of(run, each.finalist.stage),
            before.get(each.finalist.origin, 0),
            figures[each.finalist.origin] if each is measured.get(each.finalist.origin) else None,
            each is decision.kept,
        )
        for each in decision.trained
    ]


def steps_of(run: Run, *stages: str) -> int:
    return sum(epoch.steps for epoch in run.ledger.history if epoch.stage in stages)


def metric_of(run: Run, plain: nn.Module, part: str) -> float:
    """The metric of a plain model over a part of the data; the model ends on the CPU, in eval mode."""
    inputs, accelerator = run.inputs, run.session.accelerator
    loader = inputs.data.loader(part, 4 * inputs.config.retrain.batch_size)
    with answering(run, plain) as predict:
        return metric_over(predict, loader, inputs.task, accelerator)


@contextmanager
def answering(run: Run, plain: nn.Module) -> Iterator[Callable[[Tensor], Tensor]]:
    """Inside, the model answers on the run's device, in eval mode, as the fit loop's models do; it ends on the CPU."""
    accelerator = run.session.accelerator
    plain.to(accelerator.device).eval()

    def predict(x: Tensor) -> Tensor:
        with torch.no_grad(), accelerator.autocast():
            output = plain(x.to(accelerator.device))
        return convert_to_fp32(output)

    yield predict
    plain.cpu()


def details(run: Run, plain: nn.Module) -> dict[str, Any]:
    """How a model does on each class, or with each output, of the test part: `classes` and `outputs` of a Result."""
    task, data = run.inputs.task, run.inputs.data
    loader = data.loader("test", 4 * run.config.retrain.batch_size)
    with answering(run, plain) as predict:
        return {
            "classes": scores_by_class(predict, loader, task, data),
            "outputs": output_errors(predict, loader, task, data),
        }
