r"""Regularised evolution over NAS-Bench-201 with GenNAS as its only guide; the accuracies of what it found come out.

    python -m benchmarks.gennas.evolve --known nasbench201_test_accuracy.json --images cifar10_train20k.npz \
        --cells 1 --out runs/gennas/evolution-cells1.jsonl

Every seed runs the evolution of `dashfx.blackbox.optimisers.evolution`; the seeds share the scores of `--out`, which
`benchmarks.gennas.score` may have filled before, so that no network is scored twice and an interrupted call continues.
With `--finalists N` the N best of a seed are scored once more at the benchmark's own five cells; with `--refine M` they
are the first members of a second evolution, of M evaluations at five cells. The best at five cells is what the seed
ends with. It is looked up in the published results, which guide nothing.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.gennas import nb201
from benchmarks.gennas.score import BENCHMARKS, ROWS, built, images, proxy, scored
from dashfx.blackbox.base import Row, fitness, optimise
from dashfx.blackbox.genomes import Positions
from dashfx.blackbox.optimisers.evolution import Evolution
from dashfx.train.progress import read_log

FULL = 5  # cells a stage, as published
Genome = tuple[int, ...]
SPACE = Positions((len(nb201.OPERATIONS),) * 6)


class Scores:
    """Scores of networks by their genome, kept in a JSON Lines file."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._path, self._known = options.out, nb201.accuracies(options.known)
        self._proxy, self._batch = proxy(options.proxy, options.iterations), images(options.images, ROWS)
        self._cells = options.cells
        rows = read_log(options.out)
        self._scores = {
            (row["arch"], row.get("cells", options.cells)): row["score"]
            for row in rows
            if row["proxy"] == self._proxy.name
        }
        self.maximise = self._proxy.maximise

    def __len__(self) -> int:
        return len(self._scores)

    def __call__(self, genomes: Sequence[tuple[int, ...]]) -> list[float]:
        return [self.of(arch_of(genome), self._cells) for genome in genomes]

    def of(self, arch: str, cells: int) -> float:
        if (arch, cells) not in self._scores:
            row = scored(self._proxy, built(BENCHMARKS["nb201"], arch, {"cells": cells}), self._batch)
            self._scores[arch, cells] = row["score"]
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"arch": arch, "cells": cells, "truth": self._known[arch], **row}) + "\n")
        return self._scores[arch, cells]


def main() -> None:
    options = parse()
    torch.set_num_threads(1)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    published = {name: nb201.accuracies(options.known, name) for name in nb201.DATASETS}
    scores = Scores(options)
    ends: list[tuple[float, ...]] = []
    for seed in range(options.seeds):
        search = Evolution(options.population, options.tournament).begin(SPACE, torch.Generator().manual_seed(seed))
        rows = optimise(search, scores, options.evaluations, maximise=scores.maximise)
        arch = arch_of(winner(rows, scores, options, torch.Generator().manual_seed(seed)))
        ends.append(tuple(table[arch] for table in published.values()))
        distinct = len({row.genome for row in rows})
        print(f"seed {seed}: {distinct} networks, {_line(ends[-1])}  {arch}", flush=True)
    print(f"median:  {_line([statistics.median(each) for each in zip(*ends, strict=True)])}")
    print(
        f"optimum: {_line([max(table.values()) for table in published.values()])}; {len(scores)} networks scored in all"
    )


def winner(rows: Sequence[Row], scores: Scores, options: argparse.Namespace, generator: torch.Generator) -> Genome:
    """What a seed ends with: the best of its search, or the best at full depth of its finalists and their offspring."""
    best = list(dict.fromkeys(row.genome for row in sorted(rows, key=lambda row: -row.fitness)))
    if not options.finalists:
        return best[0]

    def at_full_depth(genomes: Sequence[Genome]) -> list[float]:
        return [scores.of(arch_of(genome), FULL) for genome in genomes]

    finalists = best[: options.finalists]
    start = [
        Row(number, genome, value, fitness(value, scores.maximise), None, 0.0)
        for number, (genome, value) in enumerate(zip(finalists, at_full_depth(finalists), strict=True))
    ]
    start.sort(key=lambda row: row.fitness)  # the best are the youngest
    tournament = min(options.tournament, len(start))
    second = Evolution(len(start), tournament).begin(SPACE, generator, start)
    offspring = optimise(second, at_full_depth, options.refine, maximise=scores.maximise)
    return max([*start, *offspring], key=lambda row: row.fitness).genome


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--known", type=Path, required=True, help="the file of published accuracies")
    parser.add_argument("--images", required=True, help="as of benchmarks.gennas.score")
    parser.add_argument("--proxy", default="combo")
    parser.add_argument("--cells", type=int, default=FULL, help="cells a stage")
    parser.add_argument("--finalists", type=int, default=0, help="of each seed, scored at all five cells")
    parser.add_argument("--refine", type=int, default=0, help="evaluations at five cells that start from the finalists")
    parser.add_argument("--iterations", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--evaluations", type=int, default=150, help="of each seed, repeats included")
    parser.add_argument("--population", type=int, default=30)
    parser.add_argument("--tournament", type=int, default=8)
    parser.add_argument("--out", type=Path, required=True)
    return parser.parse_args()


def arch_of(genome: Sequence[int]) -> str:
    """The string of six numbers of operations."""
    return nb201.write(tuple(nb201.OPERATIONS[choice] for choice in genome))


def _line(accuracies: Sequence[float]) -> str:
    return " / ".join(f"{accuracy:.2f}" for accuracy in accuracies)


if __name__ == "__main__":
    main()
