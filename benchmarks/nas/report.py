"""Report of gradient searches as Markdown, with random draws and black boxes at equal time beside them."""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks.kd.load import load
from benchmarks.nas.blackbox import SIZED, ends
from benchmarks.nas.gradient import chance
from benchmarks.nas.spaces import Tabled, of_table
from dashfx.blackbox.named import OPTIMISERS
from dashfx.errors import DashfxError
from dashfx.plugins import find
from dashfx.study.statistics import improvement
from dashfx.train.progress import read_log


def printed(options: argparse.Namespace) -> int:
    for text in table(read_log(options.lines), options):
        print(text)
    return 0


def table(lines: Sequence[Mapping[str, Any]], options: argparse.Namespace) -> Iterator[str]:
    """A row a method: test metric, improvement over the table's random draws, and p, at equal seconds."""
    random, tabled = chance(load(options.table)), of_table(options.table)
    yield "| method | n | seconds | test | RI % over random | p | better than random |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    done = [line for line in lines if "test" in line]
    for method in dict.fromkeys(line["method"] for line in done):
        own = [line for line in done if line["method"] == method]
        seconds = statistics.mean(line["seconds"] for line in own)
        yield row(method, [line["test"] for line in own], random, f"{seconds:.0f}")
    if done and tabled.seconds:
        yield from blackboxes(tabled, statistics.mean(line["seconds"] for line in done), random, options.repeats)
    spread = statistics.stdev(random)
    yield f"| one random draw | {len(random)} | 0 | {statistics.mean(random):.4f} ± {spread:.4f} | | | |"
    yield f"| the best there is | | | {tabled.best:.4f} | | | |"
    for line in lines:
        if "failure" in line:
            yield f"\n{line['method']}, seed {line['seed']}: not run: {line['failure']}"


def blackboxes(tabled: Tabled, seconds: float, random: list[float], repeats: int) -> Iterator[str]:
    """Optimisers that are told what as many trainings come to as the table says fit into the seconds."""
    count = max(1, int(seconds / tabled.seconds)) if tabled.seconds else 1
    for name in OPTIMISERS:
        try:
            optimiser = find("optimiser", SIZED.get(name, name))
            values = [tabled.true[ends(tabled, optimiser, count, seed)] for seed in range(repeats)]
        except DashfxError as error:
            yield f"| {name} | | | not run: {error} | | | |"
            continue
        yield row(f"{name}, {count} evaluations", values, random, f"{seconds:.0f}")


def row(name: str, values: list[float], random: list[float], seconds: str) -> str:
    found, spread = improvement(values, random), f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
    cells = (f"{statistics.mean(values):.4f}{spread}", f"{found.ri:+.2f} [{found.low:+.2f}, {found.high:+.2f}]")
    return f"| {name} | {len(values)} | {seconds} | {' | '.join(cells)} | {found.p:.2g} | {found.better:.2f} |"
