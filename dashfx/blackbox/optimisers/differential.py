"""Differential evolution: vectors in the unit cube, whose coordinates are cut into one bin an option.

Awad, Mallik and Hutter, "Differential Evolution for Neural Architecture Search", NAS workshop at ICLR 2020.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from dashfx.blackbox.base import Asking, Optimiser, Proposal, Row
from dashfx.blackbox.genomes import G, Space
from dashfx.errors import ConfigError
from dashfx.plugins import Share


@dataclass(frozen=True)
class Differential(Optimiser):
    """A member a is challenged by b + scale (c - d), crossed with a; the fitter of the two stays (rand/1/bin).

    First `members` random vectors. A coordinate outside the cube is drawn anew; at least one comes from the mutant.

    Args:
        members: of the population; 4 at least.
        scale, crossing: F and CR of the paper, .5 both.

    Raises:
        ConfigError: fewer than 4 members.
    """

    members: int = 20
    scale: Annotated[float, Field(gt=0, le=2)] = 0.5
    crossing: Share = 0.5

    paper: ClassVar[str] = "Awad et al., Differential Evolution for Neural Architecture Search, ICLR workshop 2020"
    row: ClassVar[str] = "28"

    def __post_init__(self) -> None:
        if self.members < 4:
            raise ConfigError(
                f"differential evolution with members={self.members}: a challenge takes 4; give 4 or more"
            )

    def begin(self, space: Space[G], generator: torch.Generator, start: Sequence[Row[G]] = ()) -> Differing[G]:
        return Differing(self, space, generator, start)


class Differing(Asking[G]):
    """Members as vectors with their fitness; rows of `start`, the newest, are members in place of random vectors."""

    def __init__(
        self, settings: Differential, space: Space[G], generator: torch.Generator, start: Sequence[Row[G]]
    ) -> None:
        self._settings, self._space, self._generator = settings, space, generator
        self._levels = space.levels()
        self._members: list[tuple[Tensor, Row[G]]] = [
            (centre(space.places(row.genome), self._levels), row) for row in start[-settings.members :]
        ]
        self._asked: list[tuple[Tensor, int | None]] = []
        self._turn = 0

    def ask(self, n: int) -> list[Proposal[G]]:
        return [self._propose() for _ in range(n)]

    def tell(self, rows: Sequence[Row[G]]) -> None:
        for (vector, rival), row in zip(self._asked, rows, strict=True):
            if rival is None:
                self._members.append((vector, row))
            elif row.fitness >= self._members[rival][1].fitness:
                self._members[rival] = vector, row
        self._asked = []

    def _propose(self) -> Proposal[G]:
        waiting = sum(rival is None for _, rival in self._asked)
        if len(self._members) + waiting < self._settings.members or len(self._members) < 4:
            vector, rival = self._uniform(), None
        else:
            rival = self._turn % len(self._members)
            vector, self._turn = self._challenger(rival), self._turn + 1
        self._asked.append((vector, rival))
        parent = None if rival is None else self._members[rival][1].number
        return Proposal(self._space.at(binned(vector, self._levels)), parent)

    def _uniform(self) -> Tensor:
        return torch.rand(len(self._levels), generator=self._generator, dtype=torch.float64)

    def _challenger(self, rival: int) -> Tensor:
        """(n,): the trial vector against a member."""
        others = [i for i in range(len(self._members)) if i != rival]
        drawn = torch.randperm(len(others), generator=self._generator)[:3].tolist()
        b, c, d = (self._members[others[i]][0] for i in drawn)
        mutant = b + self._settings.scale * (c - d)
        mutant = torch.where((mutant < 0) | (mutant >= 1), self._uniform(), mutant)
        taken = torch.rand(len(mutant), generator=self._generator) < self._settings.crossing
        taken[int(torch.randint(len(mutant), (), generator=self._generator))] = True
        return torch.where(taken, mutant, self._members[rival][0])


def binned(vector: Tensor, levels: Sequence[int]) -> list[int]:
    """The option whose bin, one of equal width an option, each coordinate in [0, 1) falls into."""
    return [min(int(x * size), size - 1) for x, size in zip(vector.tolist(), levels, strict=True)]


def centre(places: Sequence[int], levels: Sequence[int]) -> Tensor:
    """(n,): the middle of each option's bin; `binned` of it is the options."""
    return (torch.tensor(places, dtype=torch.float64) + 0.5) / torch.tensor(levels, dtype=torch.float64)
