"""Paired differences over sets and seeds: their mean, a bootstrap interval, wins, ties and losses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean

import numpy as np

Differences = Mapping[tuple[str, int], float]  # (set, seed) -> difference
DRAWS, TIE, HARM = 4000, 0.005, 0.02


@dataclass(frozen=True)
class Summary:
    """Of differences: each set counts the same, whatever its number of seeds.

    Attributes:
        low, high: the 95 % interval.
        harm: the share of (set, seed) that is worse by more than two points.
    """

    mean: float
    low: float
    high: float
    wins: int
    ties: int
    losses: int
    harm: float
    sets: int

    @property
    def runs(self) -> int:
        return self.wins + self.ties + self.losses

    def __str__(self) -> str:
        return f"{self.mean:+.3f} [{self.low:+.3f}, {self.high:+.3f}], {self.wins}/{self.ties}/{self.losses}"


def summary(differences: Differences) -> Summary:
    """The interval is of the bootstrap over sets, then over each drawn set's seeds (percentiles)."""
    by_set: dict[str, list[float]] = {}
    for (name, _), value in differences.items():
        by_set.setdefault(name, []).append(value)
    groups, values = [np.array(each) for each in by_set.values()], list(differences.values())
    low, high = np.percentile(bootstrap(groups), (2.5, 97.5))
    wins, losses = (sum(sign * value > TIE for value in values) for sign in (1, -1))
    return Summary(
        mean=fmean(float(each.mean()) for each in groups),
        low=float(low),
        high=float(high),
        wins=wins,
        ties=len(values) - wins - losses,
        losses=losses,
        harm=sum(value < -HARM for value in values) / len(values),
        sets=len(groups),
    )


def bootstrap(groups: list[np.ndarray]) -> np.ndarray:
    """(draws,) means over as many sets as there are, each of as many seeds as it has, drawn with replacement."""
    rng = np.random.default_rng(0)
    means = np.empty(DRAWS)
    for draw in range(DRAWS):
        picked = [groups[number] for number in rng.integers(len(groups), size=len(groups))]
        means[draw] = fmean(float(rng.choice(each, len(each)).mean()) for each in picked)
    return means


def difference(first: Differences, second: Differences) -> dict[tuple[str, int], float]:
    """first - second, where both are there."""
    return {key: first[key] - second[key] for key in first if key in second}
