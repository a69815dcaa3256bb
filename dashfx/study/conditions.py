"""Methods under several conditions (data sets, rules, spaces): studies go in; the mean rank of each method comes out.

After "Rethink DARTS Search Space and Renovate a New Benchmark", ICML 2023: which method is ahead depends on the data
and on how a choice is read, so that one table of one data set says little.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean, stdev

from scipy.stats import rankdata

from dashfx.errors import ConfigError
from dashfx.plugins import published
from dashfx.study.summary import Summary


@dataclass(frozen=True)
class Ranked:
    """One method over all conditions.

    Attributes:
        rank: the mean of its ranks, 1 for the best; equal means share a rank.
        spread: their standard deviation (n - 1); None under one condition.
        ranks: condition -> its rank there.
        shown: the conditions under which it was better than random choices by the study's own test.
    """

    method: str
    rank: float
    spread: float | None
    ranks: Mapping[str, float]
    shown: tuple[str, ...]


@published("after Rethink DARTS Search Space and Renovate a New Benchmark, ICML 2023", "35")
def ranked(studies: Mapping[str, Summary], level: float = 0.05) -> list[Ranked]:
    """The methods that all studies have, controls among them, by their mean test figure of each; the best first.

    Args:
        studies: condition -> summary, as `dashfx.study.study` gives it.
        level: of p after Holm's correction.

    Raises:
        ConfigError: no study, or no method in all of them that has a figure.
    """
    sets = [{row.method for row in each.rows if row.values} for each in studies.values()]
    names = sorted(set.intersection(*sets)) if sets else []
    if not names:
        raise ConfigError(
            "ranks are of methods that all studies have, and there is none: run the same --methods in each"
        )
    table: dict[str, dict[str, float]] = {name: {} for name in names}
    for condition, each in studies.items():
        sign = -1 if each.maximise else 1
        places = rankdata([sign * each.row(name).mean for name in names])
        for name, place in zip(names, places, strict=True):
            table[name][condition] = float(place)
    found = [
        Ranked(
            name,
            fmean(ranks.values()),
            stdev(ranks.values()) if len(ranks) > 1 else None,
            ranks,
            shown(name, studies, level),
        )
        for name, ranks in table.items()
    ]
    return sorted(found, key=lambda each: (each.rank, each.method))


def shown(method: str, studies: Mapping[str, Summary], level: float) -> tuple[str, ...]:
    """The conditions under which a method is better than random choices at this level."""
    adjusted = {condition: each.row(method).adjusted for condition, each in studies.items()}
    return tuple(condition for condition, p in adjusted.items() if p is not None and p <= level)
