"""Search by a fit, the base: random genomes first, then batch after batch of what is picked by all rows so far."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from dashfx.blackbox.base import Asking, Proposal, Row
from dashfx.blackbox.genomes import G, Space
from dashfx.blackbox.predictors.base import Fitted, Predictor
from dashfx.errors import ConfigError

TRIES = 20  # draws until one is new
FEWEST = 3  # rows with a value that a predictor is fitted to


class Learning(Asking[G]):
    """The rows so far, and what is asked for next; rows of `start` count as random genomes.

    Args:
        first: how many genomes are drawn at random; later ones are where nothing new is picked.
    """

    def __init__(self, first: int, space: Space[G], generator: torch.Generator, start: Sequence[Row[G]]) -> None:
        self._first, self._space, self._generator = first, space, generator
        self._seed = int(torch.randint(2**31 - 1, (), generator=generator))
        self._rows = list(filter(self._counts, start))
        self._seen = {row.genome for row in start}
        self._queue: list[Proposal[G]] = []
        self._asked = len(start)

    @abstractmethod
    def _picked(self) -> list[Proposal[G]]:
        """New genomes by a fit of the rows, the most promising first; none where nothing new is found."""

    def _counts(self, row: Row[G]) -> bool:
        """Whether a fit can go by the row."""
        return row.value is not None

    def ask(self, n: int) -> list[Proposal[G]]:
        return [self._propose() for _ in range(n)]

    def tell(self, rows: Sequence[Row[G]]) -> None:
        self._rows += filter(self._counts, rows)

    def _propose(self) -> Proposal[G]:
        self._asked += 1
        if not self._queue and self._asked > self._first and len(self._rows) >= FEWEST:
            self._queue = self._picked()
        proposal = self._queue.pop(0) if self._queue else Proposal(drawn(self._space, self._generator, self._seen))
        self._seen.add(proposal.genome)
        return proposal


def fit(predictor: Predictor, features: Any, rows: Sequence[Row[G]], seed: int, objective: int = 0) -> Fitted:
    """A predictor of one objective's fitness, by rows that have a value."""
    x = np.array([features(row.genome) for row in rows])
    return predictor.fit(x, np.array([row.point[objective] for row in rows]), seed + len(rows))


def drawn(space: Space[G], generator: torch.Generator, seen: set[G]) -> G:
    """A random genome, a new one where a few tries find one."""
    for _ in range(TRIES):
        genome = space.sample(generator)
        if genome not in seen:
            break
    return genome


def check_enough(name: str, option: str, first: int, evaluations: int) -> None:
    """Whether evaluations are left for the predictor.

    Raises:
        ConfigError: there are none.
    """
    if evaluations <= first:
        raise ConfigError(
            f"{name}: the first {first} evaluations are random genomes that the predictor learns from "
            f"({option}={first}), and there are {evaluations} in all; give more --evaluations, or a smaller {option}"
        )
