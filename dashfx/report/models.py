"""Model comparison, time and memory: the report's tables on a finished run."""

from __future__ import annotations

import math

from dashfx.config.run import RunConfig
from dashfx.cost.latency import Latency
from dashfx.drawing.html import Html, section, snippet, table, tag
from dashfx.drawing.kernels import choices
from dashfx.report.warnings import stage
from dashfx.run.result import DISTILLED, Result

HOW = {"searched": "", "untouched": "--control", "random": "--random-control"}  # the flag that trains each


def models(result: Result, config: RunConfig) -> Html:
    """Each trained model and each control, also those that were not trained; empty without any figures."""
    if not result.models:
        return Html("")
    same = "All were trained by the same recipe; "
    if config.retrain.weights == "inherit" and config.trains_supernet and len(result.models) > 1:
        same = (
            "All were trained by the same recipe, the searched one from the weights that its search had left, which "
            "may be its whole lead (--weights fresh compares the choices alone); "
        )
    if DISTILLED in result.models:
        same = f"{same}the distilled one on the ensemble's answers too; "
    text = (
        f"{same}one seed each, so that small differences may be chance: "
        f"{result.task.metric_name}, {'higher' if result.task.maximise else 'lower'} is better. A multiply-add is two "
        f"FLOPs. {_timing(result)}"
    )
    return section("Models compared", tag("p", text, class_="soft"), tag("div", models_table(result), class_="numbers"))


def models_table(result: Result) -> Html:
    """A row a model; of a search also for the controls that were not trained."""
    head = ("model", "validation", "test", "parameters", "FLOPs a row", "latency a row")
    names = dict.fromkeys([*HOW, *result.models]) if "searched" in result.models else result.models
    return table([_row(name, result) for name in names], head)


def _row(name: str, result: Result) -> tuple[object, ...]:
    figures = result.models.get(name)
    if figures is None:
        return name, tag("span", f"not run ({HOW[name]})", class_="soft"), "", "", "", ""
    kept = tag("b", f"{name}, handed back") if name == kept_name(result) else name
    latency = f"{1e3 * figures.latency.median:.3g} ms" if figures.latency else "not measured"
    size = f"{figures.parameters:,}", f"{figures.flops:,}"
    return kept, metric(figures.valid), metric(figures.test), *size, latency


def kept_name(result: Result) -> str:
    return result.kept.origin if result.kept else next(iter(result.models), "")


def notebook(result: Result) -> str:
    """The models and the search's choices for a notebook."""
    line = f"{result.task.metric_name}: validation {metric(result.valid)}, test {metric(result.test)}"
    own = {name: result.sites[name].original for name in result.chosen if name in result.sites}
    where = f"; the report is {result.folder / 'report.html'}" if result.folder else ""
    return snippet(tag("p", line + where), models_table(result), choices(result.chosen, own))


def _timing(result: Result) -> str:
    times: list[tuple[str, Latency]] = [(name, f.latency) for name, f in result.models.items() if f.latency]
    if not times:
        return ""
    spread = "; ".join(f"{name} {1e3 * t.low:.3g} to {1e3 * t.high:.3g} ms" for name, t in times)
    return (
        f"Latency: median of {times[0][1].n} calls of ONNX Runtime with {times[0][1].threads} CPU thread, models in "
        f"turn; quartiles: {spread}."
    )


def times(result: Result) -> Html:
    """Wall time and, where it is known, peak memory of each stage."""
    seconds = spent(result)
    longest = max(seconds.values(), default=0.0) or 1.0
    bars = {name: _bar(each / longest) for name, each in seconds.items()}
    rows = [(name, duration(each), _memory(result.memory.get(name)), bars[name]) for name, each in seconds.items()]
    text = "Memory is the peak of the stage on the GPU, or of the whole process up to its end where there is no GPU."
    note = [tag("p", text, class_="soft")] if any(result.memory.values()) else []
    return section("Time and memory per stage", tag("div", table(rows), class_="bars"), *note)


def spent(result: Result) -> dict[str, float]:
    """Wall time of each stage; the epochs of a process that was resumed are in the history, not on this one's clock."""
    epochs = {name: sum(epoch.seconds for epoch in stage(result.history, name)) for name in result.seconds}
    return {name: max(seconds, epochs[name]) for name, seconds in result.seconds.items()}


def metric(value: float | None) -> str:
    return "not available" if value is None or math.isnan(value) else f"{value:.4g}"


def duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _memory(peak: int | None) -> str:
    return f"{peak / 1e6:,.0f} MB" if peak else ""


def _bar(share: float) -> Html:
    return tag("span", class_="bar", style=f"width:{100 * share:.1f}%")
