"""Evaluations of a black-box search, a section of the report: the climb and the fittest rows."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from dashfx.blackbox.base import Row
from dashfx.blackbox.front import Front
from dashfx.blackbox.lineage import Lineage
from dashfx.cost.named import total_of
from dashfx.drawing.html import Html, section, table, tag
from dashfx.genotype import Genotype
from dashfx.report.figures import climb

SHOWN = 8


def evaluations(rows: Sequence[Row[Genotype]], evaluator: str, population: int = 0) -> Html:
    """The section; empty where nothing was evaluated.

    Args:
        population: how many of the last rows live on, for a search that has a population.
    """
    if not rows:
        return Html("")
    best = [row.value for row in accumulate(rows, _fitter)]
    figure = climb([row.value for row in rows], best, evaluator)
    fittest = sorted(rows, key=lambda row: (-row.fitness, row.number))
    distinct = list({row.genome: row for row in reversed(fittest)}.values())[::-1]
    text = f"{len(rows)} evaluations of {len(distinct)} genotypes; a dot is one, the line is the best so far."
    diverged = sum(row.value is None for row in rows)
    text += f" {diverged} diverged and count as the worst." if diverged else ""
    text += f" {told}" if (told := Lineage.of(rows).sentence) else ""
    alive = rows[-population:] if population else ()
    if alive:
        text += f" Of the last population of {len(alive)}, the best has {_value(max(alive, key=lambda r: r.fitness))}."
    cells = [(row.number + 1, _value(row), _parent(row), _text(row.genome)) for row in distinct[:SHOWN]]
    found = table(cells, ("evaluation", evaluator, "child of", "genotype"))
    return section("Evaluations", tag("p", text, class_="soft"), tag("figure", figure), found, _front(rows, evaluator))


def _front(rows: Sequence[Row[Genotype]], evaluator: str) -> Html:
    """What no other row dominates, where there are several objectives."""
    found = Front.of(row for row in rows if row.others).rows
    if not found:
        return Html("")
    names = tuple(found[0].others)
    text = (
        f"{len(found)} of them are on the front: none is as good in {evaluator}, {', '.join(names)} and better in one."
    )
    cells = [
        (row.number + 1, _value(row), *(total_of(n).say(row.others[n] or 0.0) for n in names), _text(row.genome))
        for row in found
    ]
    return Html(tag("p", text, class_="soft") + table(cells, ("evaluation", evaluator, *names, "genotype")))


def _fitter(a: Row[Genotype], b: Row[Genotype]) -> Row[Genotype]:
    return b if b.fitness > a.fitness else a


def _value(row: Row[Genotype]) -> str:
    return "diverged" if row.value is None else f"{row.value:.4g}"


def _parent(row: Row[Genotype]) -> str:
    return "drawn" if row.parent is None else str(row.parent + 1)


def _text(genotype: Genotype) -> str:
    """Choices in the order of sites, equal neighbours counted: `3 x k3 d1, k5 d2`."""
    runs: list[tuple[str, int]] = []
    for choice in map(str, genotype.values()):
        runs = [*runs[:-1], (choice, runs[-1][1] + 1)] if runs and runs[-1][0] == choice else [*runs, (choice, 1)]
    return ", ".join(choice if count == 1 else f"{count} x {choice}" for choice, count in runs)
