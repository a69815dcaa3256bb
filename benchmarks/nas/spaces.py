"""Spaces whose networks have all been trained: a file goes in; genomes, what is seen of each and its true value out."""

from __future__ import annotations

import math
import statistics
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.gennas import macro, nb201
from benchmarks.kd.load import Trained, load
from dashfx.blackbox.genomes import GenotypeSpace, Listed, Positions, Space, kernels_apart
from dashfx.genotype import Genotype
from dashfx.space import Candidate


@dataclass(frozen=True)
class Tabled:
    """One space.

    Attributes:
        seen: genome -> what a search is told, larger being better; `true` what it is judged by.
        seconds: of one training, the mean; None where it is not known.
    """

    name: str
    space: Space[Any]
    seen: Mapping[Hashable, float]
    true: Mapping[Hashable, float]
    seconds: float | None = None

    @property
    def best(self) -> float:
        return max(self.true.values())


def of_table(path: Path) -> Tabled:
    """A (kernel, dilation) table: the first validation metric is seen, the mean of test over the seeds judges."""
    rows = load(path)
    by_genotype: dict[Genotype, list[Trained]] = {}
    for row in rows:
        by_genotype.setdefault(row.genotype, []).append(row)
    seen: dict[Hashable, float] = {g: next(r.valid for r in found if r.seed == 0) for g, found in by_genotype.items()}
    true: dict[Hashable, float] = {g: statistics.mean(r.test for r in found) for g, found in by_genotype.items()}
    return Tabled(path.stem, space_of(tuple(by_genotype)), seen, true, statistics.mean(r.seconds for r in rows))


def space_of(genotypes: tuple[Genotype, ...]) -> Space[Genotype]:
    """All combinations of the choices, where the table has all of them; else those that it holds."""
    choices: dict[str, list[Candidate]] = {
        name: list(dict.fromkeys(genotype[name] for genotype in genotypes)) for name in genotypes[0]
    }
    whole = GenotypeSpace(choices)
    complete = math.prod(map(len, choices.values())) == len(genotypes)
    return whole if complete else Listed(genotypes, whole, kernels_apart)


def of_benchmarks(folder: Path) -> Iterator[Tabled]:
    """NAS-Bench-201, of which CIFAR-10 test accuracies are known, and NAS-Bench-Macro, in percent."""
    cells = nb201.accuracies(folder / "nasbench201_test_accuracy.json")
    known: dict[Hashable, float] = {_operations(arch): value for arch, value in cells.items()}
    yield Tabled("NAS-Bench-201", Positions((len(nb201.OPERATIONS),) * len(nb201.SOURCES)), known, known)
    layers = macro.accuracies(folder / "nasbench_macro_cifar10.json")
    digits: dict[Hashable, float] = {tuple(map(int, arch)): value for arch, value in layers.items()}
    yield Tabled("NAS-Bench-Macro", Positions((3,) * len(macro.CHANNELS)), digits, digits)


def _operations(arch: str) -> tuple[int, ...]:
    return tuple(map(nb201.OPERATIONS.index, nb201.parse(arch)))
