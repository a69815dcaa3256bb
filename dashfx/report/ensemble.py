"""Ensemble: the report's section on the average of several models, beside the single model that is handed back."""

from __future__ import annotations

from dashfx.cost.latency import Figures
from dashfx.drawing.html import Html, section, table, tag
from dashfx.report.models import metric
from dashfx.run.result import Result


def ensemble(result: Result) -> Html:
    """What the average gains and what it costs; empty where none was asked for."""
    found = result.ensemble
    if found is None:
        return Html("")
    if found.figures is None or found.alone is None:
        return section("Ensemble", tag("p", found.sentence(result.task.metric_name)))
    rows = [
        _row("the single model", found.alone, found.alone_steps),
        _row(found.name, found.figures, found.steps),
    ]
    members = [(each.name, each.stage, metric(each.valid), f"{each.steps:,}") for each in found.members]
    through = f"Through ONNX Runtime it has {metric(found.onnx_valid)} on validation. " if found.exported else ""
    missing = f"There is no file of it: {found.why}. " if found.why else ""
    text = (
        f"The average of the best trained models ({found.average}). {through}{missing}Steps are those of all training "
        f"that led to each, the search's included: {_share(found.steps, found.alone_steps)}."
    )
    head = ("model", "validation", "test", "parameters", "FLOPs a row", "latency a row", "steps of training")
    return section(
        "Ensemble",
        tag("p", text, class_="soft"),
        tag("div", table(rows, head), class_="numbers"),
        tag("h3", "Members"),
        tag("div", table(members, ("model", "stage", "validation", "steps to it")), class_="numbers"),
    )


def _share(steps: int, alone: int) -> str:
    """How much more or less training the average has had."""
    if steps == alone or not alone:
        return "as many" if steps == alone else "the single model has had none"
    return f"the ensemble has had {steps / alone:.2g} times the single model's"


def _row(name: str, figures: Figures, steps: int) -> tuple[str, ...]:
    latency = f"{1e3 * figures.latency.median:.3g} ms" if figures.latency else "not measured"
    costs = f"{figures.parameters:,}", f"{figures.flops:,}", latency, f"{steps:,}"
    return name, metric(figures.valid), metric(figures.test), *costs
