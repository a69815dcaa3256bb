"""BOHB: Hyperband's brackets of short and long evaluations, whose genomes a model of the longest ones draws.

Falkner, Klein and Hutter, "BOHB: Robust and Efficient Hyperparameter Optimization at Scale", ICML 2018; over a joint
space of networks and recipes in Zela, Klein, Falkner and Hutter, "Towards Automated Deep Learning: Efficient Joint
Neural Architecture and Hyperparameter Search", AutoML workshop at ICML 2018.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Generic

import torch
from pydantic import Field

from dashfx.blackbox.base import Asking, Optimiser, Proposal, Row
from dashfx.blackbox.genomes import G, Space
from dashfx.blackbox.optimisers.samplers import Tpe
from dashfx.errors import ConfigError
from dashfx.plugins import Share


@dataclass(frozen=True)
class Bohb(Optimiser):
    """Brackets of `eta`-fold halving; a third of the genomes is random, the others are drawn by TPE.

    TPE hears the rows of the highest fidelity of which there are more than the space has positions.

    Args:
        eta: of a rung's genomes one in so many goes on, to an evaluation that is so many times as long.
        smallest: the lowest fidelity, a share of a whole evaluation.
        random: the share of genomes that no model draws.
    """

    eta: Annotated[int, Field(ge=2)] = 3
    smallest: Annotated[float, Field(gt=0, lt=1)] = 1 / 9
    random: Share = 1 / 3

    uses_fidelity: ClassVar[bool] = True
    paper: ClassVar[str] = (
        "Zela et al., Towards Automated Deep Learning: Joint Architecture and Hyperparameter Search, 2018"
    )
    row: ClassVar[str] = "66"

    def __post_init__(self) -> None:
        if self.eta < 2 or not 0 < self.smallest < 1:
            raise ConfigError(
                f"bohb with eta={self.eta}, smallest={self.smallest}: eta from 2, smallest between 0 and 1"
            )

    def check(self, evaluations: int, objectives: int = 1) -> None:
        needed = sum(count for count, _ in brackets(self.eta, self.smallest)[0])
        if evaluations < needed:
            raise ConfigError(
                f"bohb: its first bracket has {needed} evaluations, of which only the last is whole, and there are "
                f"{evaluations} in all; give more with --evaluations, or a larger smallest"
            )

    def begin(self, space: Space[G], generator: torch.Generator, start: Sequence[Row[G]] = ()) -> Halving[G]:
        return Halving(self, space, generator, start)


def brackets(eta: int, smallest: float) -> list[list[tuple[int, float]]]:
    """The rungs of each bracket, the one of the most and shortest evaluations first: how many, at which fidelity.

    With s from s_max down to 0: n = ceil((s_max + 1) / (s + 1) eta^s) at eta^-s, of which rung i keeps
    floor(n eta^-i) at eta^(i - s) (Li et al., Hyperband, JMLR 2018, Algorithm 1).
    """
    last = math.floor(math.log(1 / smallest, eta) + 1e-9)
    found = []
    for s in range(last, -1, -1):
        first = -(-(last + 1) * eta**s // (s + 1))
        found.append([(first // eta**i, 1 / eta ** (s - i)) for i in range(s + 1)])
    return found


@dataclass
class Bracket(Generic[G]):
    """Rungs under way.

    Attributes:
        left: proposals of the present rung that are still to be made.
        told: what came back of it.
    """

    rungs: list[tuple[int, float]]
    rung: int = 0
    left: int = 0
    promoted: list[Row[G]] = field(default_factory=list)
    told: list[Row[G]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.left = self.rungs[0][0]

    @property
    def is_done(self) -> bool:
        """Whether the present rung has all its rows."""
        return len(self.told) == self.rungs[self.rung][0]

    def rise(self) -> None:
        """The fittest go on to the next rung."""
        self.rung += 1
        self.left = self.rungs[self.rung][0]
        self.promoted = sorted(self.told, key=lambda row: (-row.fitness, row.number))[: self.left]
        self.told = []


class Halving(Asking[G]):
    """Brackets under way, one after the other; the next one is opened early where all others wait for values."""

    def __init__(self, settings: Bohb, space: Space[G], generator: torch.Generator, start: Sequence[Row[G]]) -> None:
        self._settings, self._space, self._generator = settings, space, generator
        self._rows = list(start)
        self._open: list[Bracket[G]] = []
        self._begun = 0
        self._asked: list[Bracket[G]] = []

    def ask(self, n: int) -> list[Proposal[G]]:
        return [self._propose() for _ in range(n)]

    def tell(self, rows: Sequence[Row[G]]) -> None:
        self._rows += rows
        for bracket, row in zip(self._asked, rows, strict=True):
            bracket.told.append(row)
        self._asked = []
        for bracket in self._open:
            if bracket.is_done and bracket.rung + 1 < len(bracket.rungs):
                bracket.rise()
        self._open = [bracket for bracket in self._open if not bracket.is_done]

    def _propose(self) -> Proposal[G]:
        bracket = next((each for each in self._open if each.left), None) or self._opened()
        fidelity = bracket.rungs[bracket.rung][1]
        if bracket.promoted:
            row = bracket.promoted[-bracket.left]
            proposal = Proposal(row.genome, row.number, fidelity)
        else:
            proposal = Proposal(self._drawn(), None, fidelity)
        bracket.left -= 1
        self._asked.append(bracket)
        return proposal

    def _opened(self) -> Bracket[G]:
        table = brackets(self._settings.eta, self._settings.smallest)
        bracket: Bracket[G] = Bracket(table[self._begun % len(table)])
        self._begun += 1
        self._open.append(bracket)
        return bracket

    def _drawn(self) -> G:
        """A genome for a bracket's first rung."""
        chance = float(torch.rand((), generator=self._generator))
        known = self._informed()
        if chance < self._settings.random or not known:
            return self._space.sample(self._generator)
        (proposal,) = Tpe().begin(self._space, self._generator, known).ask(1)
        return proposal.genome

    def _informed(self) -> list[Row[G]]:
        """The rows of the highest fidelity of which there are enough for a model."""
        for fidelity in sorted({row.fidelity for row in self._rows}, reverse=True):
            rows = [row for row in self._rows if row.fidelity == fidelity and row.value is not None]
            if len(rows) > len(self._space.levels()):
                return rows
        return []
