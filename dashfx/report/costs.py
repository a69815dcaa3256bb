"""Costs in the report: quality against latency, the front of a search, and where a network's time goes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.figure import Figure

from dashfx.drawing.html import Html, section, table, tag
from dashfx.drawing.kernels import shortened
from dashfx.report.figures import INK, LABEL, LOSS, METRIC, WIDTH, as_svg, inked
from dashfx.report.models import metric
from dashfx.run.outcome.front import SiteTime
from dashfx.run.result import Result


class Mark(NamedTuple):
    """A model in a picture of quality against cost.

    Attributes:
        trained: whether it was trained for itself; the points of a front have the weights that the search left.
    """

    name: str
    cost: float
    quality: float
    trained: bool = True


def costs(result: Result) -> Html:
    """Nothing where less than two models can be compared and no conv was timed."""
    marks, parts = latency_marks(result), list[Html]()
    if len(marks) > 1:
        parts.append(_figure("Quality against latency", marks, "ms a row", result))
    if result.front and result.front.cost != "latency":
        points = [Mark("", each.cost, each.valid, False) for each in result.front.points]
        parts.append(_figure(f"Quality against {result.front.cost}", points, result.front.unit, result))
    if result.site_times:
        parts.append(tag("figure", tag("h3", "Share of the convs' time"), shares(result.site_times)))
    if not parts:
        return Html("")
    return section(
        "Costs", tag("p", _text(result), class_="soft"), tag("div", *parts, class_="figures"), *_front(result)
    )


def _text(result: Result) -> str:
    """How to read the pictures."""
    said = ["Dots are models that were trained, on the validation part."]
    if result.front:
        said.append(
            "Rings are further choices of the same search with the weights that it left, none trained for itself: they "
            "tell which way costs and quality go, not what a retraining would come to."
        )
    if result.site_times:
        said.append(
            "Of each conv with its chosen kernel, the share of the time of all convs, each timed alone in ONNX "
            "Runtime, beside that of the multiply-adds: where the former is larger, it is slower than it counts."
        )
    return " ".join(said)


def latency_marks(result: Result) -> list[Mark]:
    """Every model whose time and metric are known; the int8 file by how much faster it was than the float one."""
    known = [each for each in result.finalists if each.figures and each.figures.latency]
    marks = [
        Mark(e.name, 1e3 * e.figures.latency.median, e.figures.valid) for e in known if e.figures and e.figures.latency
    ]
    kept = next((mark for mark, each in zip(marks, known, strict=True) if each.kept), None)
    int8 = result.int8
    if kept and int8 and int8.path and int8.speedup and int8.metric is not None:
        marks.append(Mark("int8", kept.cost / int8.speedup, int8.metric))
    if result.front and result.front.cost == "latency":
        marks += [Mark("", 1e3 * each.cost, each.valid, False) for each in result.front.points]
    return marks


def _figure(title: str, marks: Sequence[Mark], unit: str, result: Result) -> Html:
    return tag("figure", tag("h3", title), scatter(marks, unit, result.task.metric_name))


def scatter(marks: Sequence[Mark], unit: str, name: str) -> Html:
    """Quality over cost: dots with names for models that were trained, rings for others."""
    figure = Figure(figsize=(WIDTH, 3.0), layout="constrained")
    axes = figure.subplots()
    for mark in marks:
        face = METRIC if mark.trained else "none"
        axes.plot(mark.cost, mark.quality, "o", markersize=6, color=METRIC, markerfacecolor=face)
        if mark.name:
            text = axes.annotate(
                shortened(mark.name, LABEL), (mark.cost, mark.quality), (5, 5), "data", "offset points"
            )
            text.set(fontsize=8, color=INK, parse_math=False)
    axes.set_xlabel(unit, parse_math=False)
    axes.set_ylabel(f"{name}, validation", parse_math=False)
    axes.margins(0.15)
    inked(axes)
    axes.grid(color="#888888", alpha=0.3, linewidth=0.6)
    return as_svg(figure, f"{name} of {len(marks)} models over {unit}")


def shares(times: Sequence[SiteTime]) -> Html:
    """Two bars a conv: its share of the time and of the multiply-adds."""
    figure = Figure(figsize=(WIDTH, 1.0 + 0.34 * len(times)), layout="constrained")
    axes = figure.subplots()
    for offset, which, color, label in ((-0.2, 0, METRIC, "time"), (0.2, 1, LOSS, "multiply-adds")):
        whole = sum(each.after[which] for each in times) or 1.0
        widths = [100 * each.after[which] / whole for each in times]
        axes.barh([i + offset for i in range(len(times))], widths, 0.36, color=color, label=label)
    axes.set_yticks(range(len(times)), [shortened(each.name, LABEL) for each in times], parse_math=False)
    axes.invert_yaxis()
    axes.set_xlabel("% of all convs")
    axes.legend(fontsize=8, frameon=False, labelcolor=INK)
    inked(axes)
    return as_svg(figure, f"Time and multiply-adds of {len(times)} convs")


def _front(result: Result) -> list[Html]:
    if not result.front:
        return []
    rows = [(each.said, metric(each.valid), each.genotype.listed) for each in result.front.points]
    head = (result.front.cost, f"{result.task.metric_name}, untrained", "kernel and dilation")
    return [tag("h3", "Front"), table(rows, head)]
