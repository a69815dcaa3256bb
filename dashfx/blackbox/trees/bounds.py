"""Upper confidence bounds of branches, from how often each was taken and what was found below it."""

from __future__ import annotations

import math
from collections.abc import Sequence


class Scale:
    """Fitness as shares of the range seen so far; what has no value counts as the worst that was seen."""

    def __init__(self) -> None:
        self._low, self._high = math.inf, -math.inf

    def see(self, fitness: float) -> float:
        """The fitness, or in its place the worst so far where it is not finite; 0 before there is any."""
        if math.isfinite(fitness):
            self._low, self._high = min(self._low, fitness), max(self._high, fitness)
            return fitness
        return self._low if math.isfinite(self._low) else 0.0

    def share(self, fitness: float) -> float:
        """From 0 to 1."""
        return (fitness - self._low) / (self._high - self._low) if self._high > self._low else 0.5


def ucb1(mean: float, visits: int, all_visits: int, c: float) -> float:
    """mean + c sqrt(2 ln(all) / visits), for a mean from 0 to 1 (Auer et al., 2002); infinite without a visit."""
    return mean + c * math.sqrt(2 * math.log(max(all_visits, 1)) / visits) if visits else math.inf


def largest(values: Sequence[float], draw: float) -> int:
    """The place of the largest value; of equals the one that `draw`, from 0 to 1, falls on."""
    best = [i for i, value in enumerate(values) if value == max(values)]
    return best[min(int(draw * len(best)), len(best) - 1)]
