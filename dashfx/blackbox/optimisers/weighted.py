"""RoBoT: which weighted sum of cheap scores finds the best genomes, and then down the list that it gives.

After He et al., "Robustifying and Boosting Training-Free Neural Architecture Search", ICLR 2024.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from dashfx.blackbox.base import Asking, Optimiser, Proposal, Row
from dashfx.blackbox.genomes import G, Space
from dashfx.blackbox.optimisers.random import RandomSearch
from dashfx.plugins import Count, Positive

Floats = NDArray[np.float64]
DRAWS = 1000  # weights among which the upper confidence bound is maximised


@dataclass(frozen=True)
class Weighted(Optimiser):
    """Of a fixed pool, the genome of the largest w . m for weights w in [-1, 1]^M of its scaled scores m is evaluated.

    w maximises the upper confidence bound mean + kappa deviation of a Gaussian process from w to the fitness, `queries`
    times; a genome that is known costs no evaluation then. What is left of the evaluations goes down the list of the
    best w so far.

    Args:
        score: (n_genomes, M) scores, larger is better; what is not finite counts as the worst of its column.
        pool: how many genomes are drawn, each another where the space has so many.
    """

    score: Callable[[Sequence[Any]], Floats]
    pool: Count = 100
    queries: Count = 199
    kappa: Positive = 2.576
    name: ClassVar[str] = "robust"

    def begin(self, space: Space[G], generator: torch.Generator, start: Sequence[Row[G]] = ()) -> Asking[G]:
        drawing = RandomSearch().begin(space, generator)
        pool = list(dict.fromkeys(each.genome for each in drawing.ask(self.pool)))
        return Weighing(pool, scaled(self.score(pool)), self.queries, self.kappa, generator)


class Weighing(Asking[G]):
    """Which weights have been asked for, and what their genomes were worth.

    Attributes:
        found: the weights whose genome was the fittest; zeros before there is any.
    """

    def __init__(
        self, pool: Sequence[G], columns: Floats, queries: int, kappa: float, generator: torch.Generator
    ) -> None:
        self._pool, self._columns, self._left, self._kappa = pool, columns, queries, kappa
        self._generator = generator
        self._asked: list[tuple[Floats, int]] = []  # weights and the place of their genome
        self._known: dict[int, float | None] = {}  # place -> fitness, None while it is evaluated
        self.found = np.zeros(columns.shape[1])

    def ask(self, n: int) -> list[Proposal[G]]:
        return [Proposal(self._pool[self._next()]) for _ in range(n)]

    def tell(self, rows: Sequence[Row[G]]) -> None:
        for row in rows:
            self._known[self._pool.index(row.genome)] = row.fitness
        values = [self._known[place] for _, place in self._asked]
        best = max(range(len(values)), key=lambda i: -np.inf if (value := values[i]) is None else value, default=None)
        if best is not None:
            self.found = self._asked[best][0]

    def _next(self) -> int:
        """The place of a genome that is new, where the pool still has one."""
        while self._left and len(self._known) < len(self._pool):
            self._left -= 1
            weights = self._weights()
            place = int((self._columns @ weights).argmax())
            self._asked.append((weights, place))
            if place not in self._known:
                self._known[place] = None
                return place
        ranked = np.argsort(-(self._columns @ self.found), kind="stable").tolist()
        place = next((each for each in ranked if each not in self._known), ranked[0])
        self._known.setdefault(place, None)
        return int(place)

    def _weights(self) -> Floats:
        """(M,): those of the largest upper confidence bound among draws."""
        size = (DRAWS, self._columns.shape[1])
        draws: Floats = (2 * torch.rand(size, generator=self._generator, dtype=torch.float64) - 1).numpy()
        told = [(weights, self._known[place]) for weights, place in self._asked]
        finite = [(weights, value) for weights, value in told if value is not None and np.isfinite(value)]
        if not finite:
            return draws[0]
        worst = min(value for _, value in finite)
        values = [worst if value == -np.inf else value for _, value in told if value is not None]
        mean, deviation = predicted(np.stack([w for w, value in told if value is not None]), np.asarray(values), draws)
        best: Floats = draws[int((mean + self._kappa * deviation).argmax())]
        return best


def predicted(x: Floats, y: Floats, at: Floats) -> tuple[Floats, Floats]:
    """Mean and deviation at (n, M) points of a Gaussian process that has seen y at x; a Matern kernel of order 5/2."""
    from sklearn.exceptions import ConvergenceWarning  # seconds, that a search without this need not wait
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import Matern

    process = GaussianProcessRegressor(Matern(nu=2.5), alpha=1e-6, normalize_y=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a bound of the length scale is an answer too
        mean, deviation = process.fit(x, y).predict(at, return_std=True)
    return mean, deviation


def scaled(scores: Floats) -> Floats:
    """(n, M): each column from 0 to 1, of its logarithms where all are positive; what is not finite is at 0."""
    columns = []
    for column in np.asarray(scores, dtype=np.float64).T:
        finite = column[np.isfinite(column)]
        if len(finite) and finite.min() > 0:
            column, finite = np.log(np.where(column > 0, column, np.nan)), np.log(finite)
        low, high = (finite.min(), finite.max()) if len(finite) else (0.0, 0.0)
        columns.append(np.nan_to_num((column - low) / (high - low or 1.0), nan=0.0, posinf=0.0, neginf=0.0))
    return np.stack(columns, axis=1)
