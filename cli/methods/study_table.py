"""Table of a study for the terminal, with what it comes to in a sentence."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import RenderableType

from dashfx.cli.tables import shared as tables

if TYPE_CHECKING:
    from dashfx.study import Plan, Summary

NUMBERS = ("n", "cost", "tau", "p")


def shown(plan: Plan, summary: Summary) -> Iterator[RenderableType]:
    """A row a method, in 80 columns; `study.md` has more columns."""
    from dashfx.study import markdown

    heads = ("method", "n", f"{summary.metric}, test", "RI %", "p", "cost", "tau")
    table = tables.table("methods, at equal training", *heads, numbers=NUMBERS)
    for row in summary.rows:
        name, n, test, _, improved, p, _, _, cost, tau = markdown.cells(row)
        table.add_row(name, n, test, improved, p, cost, tau)
    yield table
    if said := markdown.verdict(summary, plan):
        yield said
    yield from (f"note: {each}" for each in summary.notes)
    yield "RI: over the mean of random choices. p: by permutation, one-sided. cost: in trainings of the untouched model"
