"""Table of a study as Markdown: a summary goes in, the text of `study.md` comes out."""

from __future__ import annotations

import math
from collections.abc import Iterator

from dashfx.study.plan import Plan
from dashfx.study.summary import Row, Summary, verdict

HEADS = ("method", "n", "{metric}, test", "valid", "RI %", "p", "p (Holm)", "over untouched", "cost", "tau")
LEGEND = """\
Mean ± standard deviation over searches with seeds of their own, each with one training by one recipe. RI: the relative
improvement over the mean of random choices, with Welch's interval of 95 %. p: how often results assigned at random to
method and random choices put the method so far ahead (one-sided), Holm's for all methods together. Over untouched: the
difference to the untouched model's mean. Cost: all training that led to a model, over the untouched model's. tau:
how the search's own score orders genotypes that were trained alone."""


def to_markdown(summary: Summary, plan: Plan) -> str:
    """The whole page."""
    return "\n".join(_lines(summary, plan)) + "\n"


def _lines(summary: Summary, plan: Plan) -> Iterator[str]:
    model, data = plan.options.get("model"), plan.options.get("data")
    yield f"# {', '.join(plan.methods)} on {model} and {data}\n"
    yield "| " + " | ".join(head.format(metric=summary.metric) for head in HEADS) + " |"
    yield "|" + " --- |" * len(HEADS)
    for row in summary.rows:
        yield "| " + " | ".join(cells(row)) + " |"
    yield ""
    if said := verdict(summary, plan):
        yield f"{said[0].upper()}{said[1:]}.\n"
    yield from (f"Note: {each}.\n" for each in summary.notes)
    yield LEGEND


def cells(row: Row) -> tuple[str, ...]:
    """A row's texts, in the order of `HEADS`; empty where nothing is known."""
    against = row.against
    n = str(len(row.values)) if len(row.values) == row.planned else f"{len(row.values)} of {row.planned}"
    valid = f"{sum(row.valid) / len(row.valid):.4f}" if row.valid else ""
    return (
        row.method,
        n,
        spread(row),
        valid,
        interval(against.ri, against.low, against.high, 2) if against else "",
        p_text(against.p) if against else "",
        p_text(row.adjusted) if row.adjusted is not None else "",
        interval(*row.lead, 4) if row.lead else "",
        f"{row.cost:.1f}" if row.cost else "",
        f"{row.tau:.2f}" if row.tau is not None else "",
    )


def spread(row: Row) -> str:
    if not row.values:
        return ""
    return f"{row.mean:.4f}" + (f" ± {row.spread:.4f}" if row.spread is not None else "")


def p_text(p: float) -> str:
    """Three digits, and never 0."""
    return f"{p:.3f}" if p >= 0.001 else f"{p:.1g}"


def interval(value: float, low: float, high: float, digits: int) -> str:
    """A signed number, with its interval where there is one.

    >>> interval(1.234, 0.5, 2.0, 1), interval(1.234, float("nan"), float("nan"), 1)
    ('+1.2 [+0.5, +2.0]', '+1.2')
    """
    if math.isnan(value):
        return ""
    if math.isnan(low):
        return f"{value:+.{digits}f}"
    return f"{value:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]"
