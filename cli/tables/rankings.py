"""A ranking of models goes in; rich tables of scores and of their agreement with known results come out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.table import Table

from dashfx.cli.tables.shared import short, table
from dashfx.genotype import Genotype

if TYPE_CHECKING:
    from dashfx.proxy import Correlation, Ranking

PROXIES_A_TABLE = 4


def ranking(found: Ranking, by: str) -> list[Table]:
    """Every model, best first by the proxy `by`; a few proxies a table, so that it fits."""
    rows = {row.name: row for row in found.rows}
    columns = [proxy for proxy in found.proxies if proxy not in ("params", "flops")]
    made = []
    for start in range(0, max(1, len(columns)), PROXIES_A_TABLE):
        some = columns[start : start + PROXIES_A_TABLE]
        numbers = ("params", "flops", *some, "seconds")
        made.append(table(f"best first by {by}", "model", *numbers, numbers=numbers))
        for name in found.order(by):
            row = rows[name]
            counts = [short(round(n)) if math.isfinite(n) else "?" for n in (row.params, row.flops)]
            made[-1].add_row(name, *counts, *(f"{row.scores[p]:.4g}" for p in some), f"{row.seconds:.1f}")
    return made


def notes(found: Ranking) -> list[Table]:
    """What went wrong with which model; nothing where nothing did."""
    made = table("without a score, and therefore last", "model", "why")
    for row in found.rows:
        if row.note:
            made.add_row(row.name, row.note)
    return [made] if made.row_count else []


def fittest(order: Sequence[str], genotypes: Mapping[str, Genotype], shown: int = 3) -> Table:
    """The choices of the first genotypes of an order."""
    names = list(order[:shown])
    made = table("choices of the best", "conv", *(f"model {name}" for name in names))
    for site in genotypes[names[0]]:
        made.add_row(site, *(str(genotypes[name][site]) for name in names))
    return made


def correlations(found: Mapping[str, Correlation], title: str = "agreement with known results") -> Table:
    """Rank correlations, each with the 95 % interval of a bootstrap; positive is agreement."""
    numbers = ("rho", "95 %", "tau", "95 % ")
    made = table(f"{title}, n = {next(iter(found.values())).n}", "score", *numbers, numbers=numbers)
    for name, each in found.items():
        low, high = each.rho_interval, each.tau_interval
        made.add_row(name, f"{each.rho:.3f}", _interval(low), f"{each.tau:.3f}", _interval(high))
    return made


def _interval(ends: tuple[float, float]) -> str:
    return f"{ends[0]:.2f} to {ends[1]:.2f}"
