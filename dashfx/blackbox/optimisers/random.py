"""Random search: uniform draws from a space, as a floor for every other strategy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from dashfx.blackbox.base import Asking, Optimiser, Proposal, Row
from dashfx.blackbox.genomes import G, Space

TRIES = 20  # draws until one is new; in a space that is nearly used up repeats are let through


@dataclass(frozen=True)
class RandomSearch(Optimiser):
    """Uniform draws, each new where a few tries find one that is."""

    def begin(self, space: Space[G], generator: torch.Generator, start: Sequence[Row[G]] = ()) -> Drawing[G]:
        return Drawing(space, generator, start)


class Drawing(Asking[G]):
    """What has been drawn already."""

    def __init__(self, space: Space[G], generator: torch.Generator, start: Sequence[Row[G]]) -> None:
        self._space, self._generator = space, generator
        self._seen: set[G] = {row.genome for row in start}

    def ask(self, n: int) -> list[Proposal[G]]:
        return [Proposal(self._draw()) for _ in range(n)]

    def _draw(self) -> G:
        for _ in range(TRIES):
            genome = self._space.sample(self._generator)
            if genome not in self._seen:
                break
        self._seen.add(genome)
        return genome
