"""Landscapes for black-box searches: every value is known, so that an optimum and a regret are too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np

from dashfx.blackbox.genomes import Positions

Genome = tuple[int, ...]


@dataclass(frozen=True)
class Landscape:
    """Genomes of positions and what each is worth; larger is better.

    Attributes:
        table: one axis a position.
    """

    table: np.ndarray

    @property
    def space(self) -> Positions:
        return Positions(self.table.shape)

    def __call__(self, genomes: Sequence[Genome]) -> list[float]:
        return [float(self.table[genome]) for genome in genomes]

    @cached_property
    def best(self) -> float:
        return float(self.table.max())

    @cached_property
    def optimum(self) -> Genome:
        return tuple(int(i) for i in np.unravel_index(int(self.table.argmax()), self.table.shape))

    def regret(self, value: float) -> float:
        """How far below the best, as a share of the landscape's range."""
        return (self.best - value) / (self.best - float(self.table.min()))


def additive(positions: int = 6, options: int = 4, seed: int = 0) -> Landscape:
    """A sum of one number a position and option, all drawn evenly from 0 to 1."""
    parts = np.random.default_rng(seed).random((positions, options))
    return _summed((options,) * positions, [((p,), lambda at, p=p: parts[p, at]) for p in range(positions)])


def nk(positions: int = 8, options: int = 4, k: int = 2, seed: int = 0) -> Landscape:
    """The mean of one number a position, each for every state of it and the `k` that follow (Kauffman, 1989)."""
    parts = np.random.default_rng(seed).random((positions, options ** (k + 1)))

    def part(p: int) -> Callable[..., np.ndarray]:
        return lambda *at: parts[p, sum(each * options**i for i, each in enumerate(at))]

    terms = [(tuple((p + i) % positions for i in range(k + 1)), part(p)) for p in range(positions)]
    whole = _summed((options,) * positions, terms)
    return Landscape(whole.table / positions)


def deceptive(positions: int = 4, options: int = 4) -> Landscape:
    """All last options are the best; everywhere else the more last options, the worse (a trap)."""
    table = np.zeros((options,) * positions)
    for genome in product(range(options), repeat=positions):
        last = sum(gene == options - 1 for gene in genome)
        table[genome] = positions + 1 if last == positions else positions - 1 - last
    return Landscape(table)


def _summed(sizes: tuple[int, ...], terms: Sequence[tuple[tuple[int, ...], Callable[..., np.ndarray]]]) -> Landscape:
    axes = np.meshgrid(*(np.arange(size) for size in sizes), indexing="ij")
    return Landscape(sum(part(*(axes[place] for place in places)) for places, part in terms))  # type: ignore[arg-type]
