"""Precision as a choice: what int8 costs each conv in quality, and the MILP of kernels and bits together.

SimQ-NAS (Kim et al., arXiv 2312.13301, 2023) searches the joint space of sub-networks and precisions by evolution; here
each conv's drop alone in int8 is measured, and drops are taken to add up, as in HAWQ-V3 (Yao et al., ICML 2021, eq. 6).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dashfx.cost.select import nearest, pareto, select_under
from dashfx.genotype import INT8, Genotype
from dashfx.plugins import published
from dashfx.space import Candidate

if TYPE_CHECKING:
    from dashfx.cost.budgets import Limits

Scores = Mapping[str, Mapping[Candidate, float]]  # site -> a number a candidate
Groups = Sequence[Sequence[str]] | None  # of sites

SLACK = 1e-9  # of a sum of drops, and beside it, for its rounding
TIE = 1e-3  # what int8 counts at most where nothing else speaks for float
NEVER = 1e6  # a drop that is no number


@dataclass(frozen=True)
class Drops:
    """What each conv costs in quality that is alone in int8.

    Attributes:
        metric: conv -> how much worse the metric is, in its units; less than nothing counts as nothing.
        error: conv -> root mean square of the change of the answers over that of the answers; it decides among choices
            within the limit, as metrics of few rows are coarse. 1 for one that is not known.
        most: how much worse the metric may be with all that are chosen.
    """

    metric: Mapping[str, float] = field(default_factory=dict)
    error: Mapping[str, float] = field(default_factory=dict)
    most: float = math.inf

    def drop(self, name: str) -> float:
        """What counts; of a metric that is no number more than any allows."""
        worse = self.metric.get(name, 0.0)
        return max(0.0, worse) if math.isfinite(worse) else NEVER


UNKNOWN = Drops()


@published("after Sridhar et al., SimQ-NAS: Simultaneous Quantization Policy and NAS, 2023", "125")
def best(limits: Limits, scores: Scores, alike: Groups) -> Genotype:
    """Kernels and bits of the largest sum of scores, within the budgets and the drop that is allowed.

    1. Where no choice holds the budgets within that drop, the least drop that holds them is allowed; where none holds
       them at all, what misses by the least is taken.
    2. Kernels are those of the largest sum of scores; here the convs of one group share their precision too.
    3. For these kernels bits are chosen anew, conv by conv, see `settled`.
    """
    table = _Table.of(limits, scores, alike)
    least = select_under({name: [-d for d in row] for name, row in table.drops.items()}, table.costs, table.rest)
    if least is None:
        return table.genotype(nearest(table.rows, table.costs, table.rest, [limit.most for limit in limits.each]))
    needed = sum(table.drops[name][option] for name, option in least.items())
    most = max(limits.drops.most, needed * (1 + SLACK) + SLACK)
    found = select_under(table.rows, [*table.costs, table.drops], [*table.rest, table.most(most)]) or least
    kernels = table.genotype(found)
    return settled(limits, kernels, most) or kernels


def front(limits: Limits, scores: Scores, points: int, alike: Groups) -> list[Genotype]:
    """The best choices from the least of the first budget's cost on, within the drop that is allowed."""
    table = _Table.of(limits, scores, alike)
    largest = max(map(max, table.errors.values()), default=0.0) or 1.0
    rows = {  # of equal kernels those in float, unless the cost asks for int8
        name: [score - TIE * error / largest for score, error in zip(row, table.errors[name], strict=True)]
        for name, row in table.rows.items()
    }
    found = pareto(rows, table.costs[0], points, [table.drops], [table.most(limits.drops.most)])
    return [table.genotype(each) for each in found]


def settled(limits: Limits, genotype: Genotype, most: float | None = None) -> Genotype | None:
    """The same kernels with the bits of the least sum of errors that hold; None where none do.

    Args:
        most: how much worse the metric may be; by default what the limits allow.
    """
    table = _Table.of(limits, {name: {choice: 0.0} for name, choice in genotype.items()}, None)
    largest = max(map(max, table.errors.values()), default=0.0) or 1.0  # a solver's tolerance is absolute
    rows = {name: [-max(error / largest, TIE * i) for i, error in enumerate(row)] for name, row in table.errors.items()}
    allowed = table.most(limits.drops.most if most is None else most)
    found = select_under(rows, [*table.costs, table.drops], [*table.rest, allowed])
    return None if found is None else genotype.with_bits(table.genotype(found).bits)


@dataclass(frozen=True)
class _Table:
    """Each group's options, a candidate in float and then the same in int8; convs that have no scores keep their own.

    Attributes:
        rows, drops, errors: group -> a number an option.
        costs, rest: by budget; what the limits leave for the options.
    """

    scores: Scores
    groups: Mapping[str, Sequence[str]]
    rows: Mapping[str, Sequence[float]]
    costs: Sequence[Mapping[str, Sequence[float]]]
    rest: Sequence[float]
    drops: Mapping[str, Sequence[float]]
    errors: Mapping[str, Sequence[float]]

    @classmethod
    def of(cls, limits: Limits, scores: Scores, alike: Groups) -> _Table:
        chosen = [[name] for name in scores] if alike is None else alike
        others = [[name] for name in limits.each[0].own if name not in scores]
        groups = {group[0]: group for group in (*chosen, *others)}
        options = {  # of a group
            first: [(choice, bits) for choice in scores.get(first, (None,)) for bits in (None, INT8)]
            for first in groups
        }

        def table(value: Callable[[str, Candidate | None, int | None], float]) -> dict[str, list[float]]:
            return {
                first: [sum(value(name, *option) for name in group) for option in options[first]]
                for first, group in groups.items()
            }

        drops = limits.drops
        return cls(
            scores,
            groups,
            table(lambda name, choice, _: scores[name][choice] if choice else 0.0),
            [table(limit.cost_of) for limit in limits.each],
            [limit.most - limit.rest for limit in limits.each],
            table(lambda name, _, bits: drops.drop(name) if bits else 0.0),
            table(lambda name, _, bits: drops.error.get(name, 1.0) if bits else 0.0),
        )

    def most(self, drop: float) -> float:
        """The drop as a limit that a solver takes: no more than all convs together have."""
        return min(drop * (1 + SLACK) + SLACK, sum(map(max, self.drops.values())))

    def genotype(self, options: Mapping[str, int]) -> Genotype:
        """What an option a group means."""
        chosen = {
            name: list(self.scores[first])[options[first] // 2]
            for first, group in self.groups.items()
            for name in group
            if first in self.scores
        }
        small = [name for first, group in self.groups.items() for name in group if options[first] % 2]
        return Genotype({name: chosen[name] for name in self.scores}, bits=dict.fromkeys(small, INT8))
