"""Model comparison, time and memory: the report's tables on a finished run."""

from __future__ import annotations

import math

from dashfx.config.run import RunConfig
from dashfx.cost.latency import Latency
from dashfx.drawing.html import Html, section, snippet, table, tag
from dashfx.drawing.kernels import choices
from dashfx.report.warnings import stage
from dashfx.run.outcome.account import SHOWN
from dashfx.run.result import DISTILLED, LONGER, RANDOM, SEARCHED, UNTOUCHED, WIDER, Result, Standing

HOW = {UNTOUCHED: "--control", LONGER: "--longer", WIDER: "--wider", RANDOM: "--random-control"}  # what trains each


def models(result: Result, config: RunConfig) -> Html:
    """Each trained model and each control, also those that were not trained; empty without any figures."""
    if not result.models:
        return Html("")
    better = "higher" if result.task.maximise else "lower"
    text = (
        f"{_recipe(result, config)}{_seeds(result)}: {result.task.metric_name}, {better} is better. Judged by the mean "
        "over the last three epochs; validation and test are of the weights that stand for a model. Training is all "
        "that led to it, in that of the untouched model; ahead is by how much the searched model is better on the same "
        f"validation rows, with an interval of 95 %. A multiply-add is two FLOPs. {_timing(result)}"
    )
    note = tag("p", text, class_="soft")
    return section("Models compared", note, tag("div", models_table(result), class_="numbers"), *_race(result))


def _recipe(result: Result, config: RunConfig) -> str:
    more = "the distilled one on the ensemble's answers too; " if DISTILLED in result.models else ""
    if config.retrain.weights == "inherit" and config.trains_supernet and len(result.models) > 1:
        return (
            "All were trained by the same recipe, the searched one from the weights that its search had left, which "
            f"may be its whole lead (--weights fresh compares the choices alone); {more}"
        )
    return f"All were trained by the same recipe; {more}"


def _seeds(result: Result) -> str:
    seeds = max((each.seeds for each in result.finalists), default=1)
    if seeds == 1:
        return "one training each, so that small differences may be chance"
    return f"{seeds} trainings each, and beside the mean the deviation between them"


def models_table(result: Result) -> Html:
    """A row a model; of a search also for the controls that were not trained."""
    head = ("model", "judged", "validation", "test", "training", "parameters", "FLOPs a row", "latency a row", "ahead")
    rows = [_row(each) for each in result.finalists if each.figures]
    missing = [origin for origin in HOW if result.finalist(origin) is None] if result.finalist(SEARCHED) else []
    rows += [(_name(origin), tag("span", f"not run ({HOW[origin]})", class_="soft"), *[""] * 7) for origin in missing]
    return table(rows, head)


def _row(each: Standing) -> tuple[object, ...]:
    figures = each.figures
    assert figures is not None  # the caller leaves out what was not measured
    name = tag("b", f"{each.name}, handed back") if each.kept else each.name
    spread = "" if each.spread is None else f" ± {metric(each.spread)}"
    cost = "" if each.cost is None else f"{each.cost:.2f} x"
    latency = f"{1e3 * figures.latency.median:.3g} ms" if figures.latency else "not measured"
    worth = f"{metric(each.value)}{spread}", metric(figures.valid), metric(figures.test)
    return name, *worth, cost, f"{figures.parameters:,}", f"{figures.flops:,}", latency, str(each.lead or "")


def _name(origin: str) -> str:
    """What a finalist of that origin is called."""
    return f"untouched, {origin}" if origin in (LONGER, WIDER) else origin


def _race(result: Result) -> list[Html]:
    """The short trainings before, in order."""
    if not result.race:
        return []
    head = "proposal", "stage", "epochs", "validation loss", "validation", "went on"
    rows = [
        (tag("b", r.name) if r.kept else r.name, r.stage, r.epochs, metric(r.loss), metric(r.valid), "yes" * r.kept)
        for r in result.race
    ]
    text = "Short trainings with a complete schedule, whose validation loss told which proposals were trained in full."
    return [tag("h3", "Race"), tag("p", text, class_="soft"), tag("div", table(rows, head), class_="numbers")]


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
    return section("Time and memory per stage", *_account(result), tag("div", table(rows), class_="bars"), *note)


def _account(result: Result) -> list[Html]:
    """What the time went into, stages of one kind together."""
    found = result.account
    if found is None:
        return []
    kinds, names = found.kinds, sorted(found.rows, key=found.of, reverse=True)
    rows = [(name, *(_part(found.rows[name].get(k, 0.0)) for k in kinds), f"{found.of(name):.1f}") for name in names]
    whole = [("in all", *(_part(found.kind(kind)) for kind in kinds), f"{found.total:.1f}")]
    text = (
        f"{found.sentence}: forward, backward and optimiser. Seconds, without those of writing this page; measuring is "
        "that of algorithms, calibration that of batch norm."
    )
    return [tag("p", text, class_="soft"), tag("div", table([*rows, *whole], ("", *kinds, "in all")), class_="numbers")]


def _part(seconds: float) -> str:
    return f"{seconds:.1f}" if seconds >= SHOWN else ""


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
