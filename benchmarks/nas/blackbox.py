"""Black-box methods on tables: how far the best network of so many proposals stays behind the table's best."""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Hashable, Sequence
from typing import Any

import torch

from benchmarks.nas.spaces import Tabled, of_benchmarks, of_table
from dashfx.blackbox.base import Optimiser, best_of, optimise
from dashfx.errors import DashfxError
from dashfx.plugins import find
from dashfx.study.statistics import permutation_p

RANDOM = "random-search"
# What the defaults of a search of 200 evaluations become for some tens of them.
SIZED = {"evolution": "evolution:population=10,tournament=5", "local": "local:patience=5"}


def printed(options: argparse.Namespace) -> int:
    """Markdown, a row an optimiser and table."""
    tables = [of_table(path) for path in options.tables]
    tables += of_benchmarks(options.nas) if options.nas else []
    print("| table | optimiser | evaluations | regret: median [quartiles] | p against random |")
    print("| --- | --- | --- | --- | --- |")
    for table in tables:
        for count in counts(table, options):
            chance = regrets(table, RANDOM, count, options.repeats)
            for text in options.optimisers:
                print(row(table, text, count, chance, options.repeats), flush=True)
    return 0


def counts(table: Tabled, options: argparse.Namespace) -> list[int]:
    """Evaluations, or how many trainings fit into the seconds; none where the table says no seconds."""
    if not options.seconds:
        return list(options.evaluations)
    return [max(1, int(options.seconds / table.seconds))] if table.seconds else []


def row(table: Tabled, text: str, count: int, chance: list[float], repeats: int) -> str:
    try:
        found = chance if text == RANDOM else regrets(table, text, count, repeats)
    except DashfxError as error:
        return f"| {table.name} | {text} | {count} | not run: {error} | |"
    low, middle, high = statistics.quantiles(found, n=4, method="inclusive")
    p = "" if text == RANDOM else f"{permutation_p([-r for r in found], [-r for r in chance])[0]:.2g}"
    return f"| {table.name} | {text} | {count} | {middle:.4f} [{low:.4f}, {high:.4f}] | {p} |"


def regrets(table: Tabled, text: str, count: int, repeats: int) -> list[float]:
    """How far the true value of what is seen to be best stays behind the best there is, once a seed.

    Raises:
        DashfxError: an optimiser that cannot search here, such as one of several objectives.
    """
    optimiser: Optimiser = find("optimiser", text)
    return [table.best - table.true[ends(table, optimiser, count, seed)] for seed in range(repeats)]


def ends(table: Tabled, optimiser: Optimiser, count: int, seed: int) -> Hashable:
    """The genome that is seen to be the best of so many proposals."""

    def values(genomes: Sequence[Any]) -> list[float]:
        return [table.seen[genome] for genome in genomes]

    asking = optimiser.begin(table.space, torch.Generator().manual_seed(seed))
    found: Hashable = best_of(optimise(asking, values, count, maximise=True)).genome
    return found
