"""Fronts as tables: what a search with several objectives has found, one genotype a line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from dashfx.cli.tables.shared import table

if TYPE_CHECKING:
    from dashfx.blackbox.front import Front
    from dashfx.genotype import Genotype

SHOWN = 20


def front(found: Front[Genotype]) -> Table:
    """The rows of a front, the best by the first objective first; that one is the search's choice."""
    from dashfx.cost.named import total_of

    names = ("valid", *found.rows[0].others)
    rest = len(found.rows) - SHOWN
    title = f"front of {', '.join(names)}: {len(found.rows)} genotypes" + (f", {rest} not shown" if rest > 0 else "")
    made = table(title, "evaluation", *names, "kernel and dilation", numbers=("evaluation", *names))
    for row in found.rows[:SHOWN]:
        costs = [total_of(name).say(value) for name, value in row.others.items() if value is not None]
        choices = "; ".join(f"{name} {choice}" for name, choice in row.genome.items())
        made.add_row(str(row.number + 1), f"{row.value:.4g}", *costs, choices)
    return made
