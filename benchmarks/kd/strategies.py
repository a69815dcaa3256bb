"""Tables of trained genotypes go in; how good a genotype each black-box strategy finds in few evaluations comes out.

    python -m benchmarks.kd.strategies benchmarks/kd/swedishleaf.json benchmarks/kd/cricketx.json

A strategy sees validation metrics only; the test metric is that of the genotype which it ends with. Every number is the
mean over `--repeats` runs with seeds of their own, in seconds for all.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.kd.load import first_seed, load
from benchmarks.kd.train import CONVS, SPACE
from dashfx.blackbox.base import Optimiser, best_of, optimise
from dashfx.blackbox.genomes import GenotypeSpace, Listed, kernels_apart
from dashfx.blackbox.optimisers.evolution import Evolution
from dashfx.blackbox.optimisers.local import LocalSearch
from dashfx.blackbox.optimisers.random import RandomSearch
from dashfx.genotype import Genotype

STRATEGIES: dict[str, Optimiser] = {
    "random-search": RandomSearch(),
    "evolution": Evolution(population=8, tournament=4),
    "local": LocalSearch(patience=5),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="+", type=Path)
    parser.add_argument("--evaluations", nargs="+", type=int, default=[10, 20, 30])
    parser.add_argument("--repeats", type=int, default=100)
    options = parser.parse_args()
    heads = [f"validation, test after {n}" for n in options.evaluations]
    print(f"| table | strategy | {' | '.join(heads)} |")
    print("|" + " --- |" * (len(heads) + 2))
    for path in options.tables:
        for name in STRATEGIES:
            cells = [ends(path, name, n, options.repeats) for n in options.evaluations]
            print(f"| {path.stem} | {name} | {' | '.join(f'{valid:.4f}, {test:.4f}' for valid, test in cells)} |")


def ends(path: Path, strategy: str, evaluations: int, repeats: int) -> tuple[float, float]:
    """Mean validation and test metric of the best genotype found."""
    rows = {row.genotype: row for row in first_seed(load(path))}
    space = Listed(tuple(rows), GenotypeSpace(dict.fromkeys(CONVS, SPACE.candidates)), kernels_apart)

    def values(genotypes: Sequence[Genotype]) -> list[float]:
        return [rows[genotype].valid for genotype in genotypes]

    found = []
    for seed in range(repeats):
        search = STRATEGIES[strategy].begin(space, torch.Generator().manual_seed(seed))
        found.append(rows[best_of(optimise(search, values, evaluations, maximise=True)).genome])
    return statistics.mean(row.valid for row in found), statistics.mean(row.test for row in found)


if __name__ == "__main__":
    main()
