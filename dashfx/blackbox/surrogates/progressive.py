"""EPNAS: positions open from the first to the last, and a surrogate's scores are probabilities of what comes next.

Perez-Rua, Baccouche and Pateux, "Efficient Progressive Neural Architecture Search", BMVC 2018; positions open one
after the other as in Liu et al., "Progressive Neural Architecture Search", ECCV 2018.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch

from dashfx.blackbox.base import Asking, Optimiser, Proposal, Row, best_of
from dashfx.blackbox.genomes import G, Space
from dashfx.blackbox.surrogates.base import FEWEST, check_enough, drawn, fit
from dashfx.plugins import Count, Positive, find


@dataclass(frozen=True)
class Progressive(Optimiser):
    """Positions open in `stages` groups, first to last, `each` genomes a stage, drawn by softmax(score / temperature).

    Positions that are still closed are as in the best genome so far. Scores are what a predictor expects, in deviations
    over the pool. When all are open it goes on in the same way.

    Args:
        temperature: near 0 the best scores are taken in their order, as in PNAS.
        pool: how many genomes are scored for each draw of `each`.
        predictor: "ridge", "gp", "boosting", "svr", "best" or a Predictor; it sees a one-hot code.
    """

    stages: Count = 3
    each: Count = 8
    temperature: Positive = 0.2
    pool: Count = 200
    predictor: Any = field(default="ridge")

    paper: ClassVar[str] = "Perez-Rua et al., Efficient Progressive Neural Architecture Search, BMVC 2018"
    row: ClassVar[str] = "78"

    def __post_init__(self) -> None:
        object.__setattr__(self, "predictor", find("predictor", self.predictor))

    def check(self, evaluations: int, objectives: int = 1) -> None:
        check_enough("progressive", "each", self.each, evaluations)

    def begin(self, space: Space[G], generator: torch.Generator, start: Sequence[Row[G]] = ()) -> Opening[G]:
        return Opening(self, space, generator, start)


class Opening(Asking[G]):
    """The rows so far and how many positions are open; rows of `start` are what the surrogate learns from too."""

    def __init__(
        self, settings: Progressive, space: Space[G], generator: torch.Generator, start: Sequence[Row[G]]
    ) -> None:
        self._settings, self._space, self._generator = settings, space, generator
        self._seed = int(torch.randint(2**31 - 1, (), generator=generator))
        self._rows = [row for row in start if row.value is not None]
        self._seen: set[Any] = {row.genome for row in start}
        self._queue: list[Proposal[G]] = []
        self._asked = 0
        self._first = space.sample(generator)

    def ask(self, n: int) -> list[Proposal[G]]:
        return [self._propose() for _ in range(n)]

    def tell(self, rows: Sequence[Row[G]]) -> None:
        self._rows += [row for row in rows if row.value is not None]

    @property
    def open(self) -> int:
        """How many positions are open, from the first on."""
        stage = min(self._asked // self._settings.each + 1, self._settings.stages)
        return -(-len(self._space.levels()) * stage // self._settings.stages)

    def _propose(self) -> Proposal[G]:
        if not self._queue:
            self._queue = self._picked()
        self._asked += 1
        proposal = self._queue.pop(0) if self._queue else Proposal(drawn(self._space, self._generator, self._seen))
        self._seen.add(proposal.genome)
        return proposal

    def _picked(self) -> list[Proposal[G]]:
        """As many genomes as are left of the stage; none where nothing new is found."""
        settings = self._settings
        parent = best_of(self._rows) if self._rows else None
        pool = self._pool(parent.genome if parent else self._first)
        count = min(len(pool), settings.each - self._asked % settings.each)
        if len(self._rows) < FEWEST:
            return [Proposal(genome) for genome in pool[:count]]
        fitted = fit(settings.predictor, self._space.one_hot, self._rows, self._seed)
        if not pool:
            return []
        scores = fitted.mean(np.array([self._space.one_hot(genome) for genome in pool]))
        order = softmax_order(scores, settings.temperature, self._generator)[:count]
        return [Proposal(pool[i], parent.number if parent else None) for i in order]

    def _pool(self, rest: G) -> list[G]:
        """New genomes: random at the open positions, as in `rest` at the others."""
        closed = self._space.places(rest)[self.open :]
        found: dict[G, None] = {}
        for _ in range(self._settings.pool):
            places = self._space.places(self._space.sample(self._generator))[: self.open]
            found.setdefault(self._space.at((*places, *closed)))
        return [genome for genome in found if genome not in self._seen]


def softmax_order(scores: np.ndarray, temperature: float, generator: torch.Generator) -> list[int]:
    """Draws without repeats by softmax(scores in deviations / temperature), by the Gumbel trick: places in order."""
    noise = -torch.empty(len(scores), dtype=torch.float64).exponential_(generator=generator).log().numpy()
    spread = float(scores.std()) or 1.0
    return [int(i) for i in np.argsort(-(scores / spread / temperature + noise), kind="stable")]
