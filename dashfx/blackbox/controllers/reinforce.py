"""REINFORCE: one categorical distribution a position, whose logits climb the expected fitness by what draws were worth.

Williams, "Simple Statistical Gradient-Following Algorithms for Connectionist Reinforcement Learning", 1992; one
controller for networks and recipes alike in Dong, Tan, Peng, Gabrys and Le, "AutoHAS: Efficient Hyperparameter and
Architecture Search", 2020.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from dashfx.blackbox.base import Asking, Optimiser, Proposal, Row
from dashfx.blackbox.genomes import G, Space
from dashfx.plugins import Positive


@dataclass(frozen=True)
class Reinforce(Optimiser):
    """Draws from a categorical distribution a position; Adam on -log p (reward - baseline), baseline a moving mean.

    A reward is a fitness over the deviation of those so far, so that units do not matter; what has no value counts as
    the worst so far.

    Args:
        rate: of Adam, on the logits.
        memory: share of the baseline that stays at each row.
        entropy: weight of the distributions' entropy, which is climbed too.
    """

    rate: Positive = 0.2
    memory: Annotated[float, Field(ge=0, lt=1)] = 0.9
    entropy: Annotated[float, Field(ge=0)] = 0.0

    paper: ClassVar[str] = "Dong et al., AutoHAS: Efficient Hyperparameter and Architecture Search, 2020"
    row: ClassVar[str] = "38"

    def begin(self, space: Space[G], generator: torch.Generator, start: Sequence[Row[G]] = ()) -> Controller[G]:
        return Controller(self, space, generator, start)


class Controller(Asking[G]):
    """The distributions; rows of `start` move them as draws of its own would.

    Attributes:
        logits: (positions, largest level), minus infinity where a position has no such option.
        baseline: the moving mean of rewards; None before the first.
    """

    def __init__(
        self, settings: Reinforce, space: Space[G], generator: torch.Generator, start: Sequence[Row[G]]
    ) -> None:
        self._settings, self._space, self._generator = settings, space, generator
        levels = torch.tensor(space.levels())
        self.there = torch.arange(int(levels.max())) < levels[:, None]
        self._free = torch.zeros(self.there.shape, dtype=torch.float64, requires_grad=True)
        self._optimiser = torch.optim.Adam([self._free], settings.rate)
        self.baseline: float | None = None
        self._fitness: list[float] = []
        self.tell(start)

    @property
    def logits(self) -> Tensor:
        return self._free.masked_fill(~self.there, -torch.inf)

    def ask(self, n: int) -> list[Proposal[G]]:
        shares = self.logits.detach().softmax(-1)
        drawn = [torch.multinomial(shares, 1, generator=self._generator)[:, 0].tolist() for _ in range(n)]
        return [Proposal(self._space.at(places)) for places in drawn]

    def tell(self, rows: Sequence[Row[G]]) -> None:
        for row in rows:
            self._climb(self._space.places(row.genome), self._advantage(row.fitness))

    def _advantage(self, fitness: float) -> float:
        """How far above the baseline, in deviations of all so far; then the baseline moves."""
        finite = [each for each in self._fitness if math.isfinite(each)]
        if not math.isfinite(fitness):
            fitness = min(finite, default=0.0)
        self._fitness.append(fitness)
        if self.baseline is None:
            self.baseline = fitness
            return 0.0
        mean = sum(self._fitness) / len(self._fitness)
        deviation = math.sqrt(sum((each - mean) ** 2 for each in self._fitness) / len(self._fitness))
        found = (fitness - self.baseline) / (deviation or 1.0)
        self.baseline += (1 - self._settings.memory) * (fitness - self.baseline)
        return found

    def _climb(self, places: Sequence[int], advantage: float) -> None:
        self._optimiser.zero_grad()
        with torch.enable_grad():
            logs = self.logits.log_softmax(-1)
            loss = -advantage * logs[torch.arange(len(places)), torch.tensor(places)].sum()
            if self._settings.entropy:
                loss = loss + self._settings.entropy * (logs.exp() * logs.masked_fill(~self.there, 0.0)).sum()
            loss.backward()
        self._optimiser.step()
