"""Files of `benchmarks.gennas.score` go in; a Markdown table of rank correlations with the known accuracies comes out.

    python -m benchmarks.gennas.table runs/gennas/nb201-*.jsonl

A line per file and proxy, over the networks that all lines have in common unless `--all` is given. The intervals are
95 % of a bootstrap over the networks: the error of having drawn these and no others.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dashfx.proxy import correlate
from dashfx.train.progress import read_log


@dataclass
class Column:
    """What one proxy said of each network, turned so that larger is better, and the seconds it took."""

    scores: dict[str, float] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--all", action="store_true", help="every network of a line, also those that others lack")
    options = parser.parse_args()
    truths, columns = read(options.files)
    for line in table(truths, columns, shared=not options.all):
        print(line)


def read(files: Iterable[Path]) -> tuple[dict[str, float], dict[tuple[str, str], Column]]:
    """KnownNetworks accuracies by network, and a column per (file, proxy)."""
    truths: dict[str, float] = {}
    columns: dict[tuple[str, str], Column] = {}
    for path in files:
        for row in read_log(path):
            column = columns.setdefault((path.stem, row["proxy"]), Column())
            column.scores[row["arch"]] = row["score"] if row["maximise"] else -row["score"]
            column.seconds.append(row["seconds"])
            truths[row["arch"]] = row["truth"]
    return truths, columns


def table(truths: Mapping[str, float], columns: Mapping[tuple[str, str], Column], *, shared: bool) -> Iterator[str]:
    common = set.intersection(*(set(column.scores) for column in columns.values()))
    yield "| file | proxy | n | rho | tau | failed | s a network |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for (stem, proxy), column in columns.items():
        archs = sorted(common if shared else column.scores)
        scores = [column.scores[arch] for arch in archs]
        found = correlate(scores, [truths[arch] for arch in archs])
        cells = [(found.rho, found.rho_interval), (found.tau, found.tau_interval)]
        both = " | ".join(f"{value:.3f} [{low:.2f}, {high:.2f}]" for value, (low, high) in cells)
        failed = sum(math.isinf(score) for score in scores)
        yield f"| {stem} | {proxy} | {len(archs)} | {both} | {failed} | {statistics.median(column.seconds):.1f} |"


if __name__ == "__main__":
    main()
