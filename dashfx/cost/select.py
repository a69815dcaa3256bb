"""Mixed-integer linear programs over choices: scores and costs go in; the best choice a site that holds all limits out.

HAO (Dong et al., FCCM 2021): max sum s_o x_o with one option o a site, sum c_bo x_o <= T_b for each limit b.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array, hstack

from dashfx.plugins import published

Table = Mapping[str, Sequence[float]]  # site -> a number an option

EXACT = {"mip_rel_gap": 0.0}
FAR = 10.0  # how far below all finite scores an option lies that a rule would not take


@published("after Dong et al., HAO: Hardware-aware Neural Architecture Optimization, FCCM 2021", "133")
def select_under(scores: Table, costs: Sequence[Table], limits: Sequence[float]) -> dict[str, int] | None:
    """The options of the largest sum of scores whose costs stay within all limits; None where there are none.

    Args:
        scores: minus infinity for an option that is taken only where no other holds.
        costs, limits: one a budget, without what does not depend on the options.
    """
    value = np.concatenate(_finite(scores))
    found = milp(
        -value,
        integrality=np.ones(len(value)),
        bounds=Bounds(0, 1),
        constraints=[_one_a_site(scores), *_within(scores, costs, limits)],
        options=EXACT,
    )
    return _options(found.x, scores) if found.x is not None else None


def pareto(
    scores: Table, cost: Table, points: int, others: Sequence[Table] = (), within: Sequence[float] = ()
) -> list[dict[str, int]]:
    """The best options at so many limits, from the least cost to that of the best of all; each choice once.

    Args:
        others, within: further costs, and limits that all options keep.
    """
    free = (select_under(scores, others, within) if others else None) or {
        site: int(np.argmax(row)) for site, row in scores.items()
    }
    ends = sum(min(row) for row in cost.values()), sum(cost[site][option] for site, option in free.items())
    found: list[dict[str, int]] = []
    for limit in np.linspace(*ends, points):
        choice = select_under(scores, [cost, *others], [float(limit), *within])
        if choice is not None and choice not in found:
            found.append(choice)
    return found


def nearest(scores: Table, costs: Sequence[Table], limits: Sequence[float], wholes: Sequence[float]) -> dict[str, int]:
    """The options that miss the limits by the least, as the largest share of `wholes` over all budgets.

    Args:
        wholes: the limits with what does not depend on the options, above 0.
    """
    count = sum(len(row) for row in scores.values())
    # One more unknown t, the share: minimise t such that sum c_bo x_o - t * whole_b <= T_b.
    rows = [
        LinearConstraint(hstack([each.A, csr_array([[-whole / scale]])]), -np.inf, each.ub)
        for each, whole, scale in zip(_within(scores, costs, limits), wholes, _scales(costs, limits), strict=True)
    ]
    one = _one_a_site(scores)
    found = milp(
        np.append(np.zeros(count), 1.0),
        integrality=np.append(np.ones(count), 0),
        bounds=Bounds(np.append(np.zeros(count), -np.inf), np.append(np.ones(count), np.inf)),
        constraints=[LinearConstraint(hstack([one.A, csr_array((len(scores), 1))]), 1, 1), *rows],
        options=EXACT,
    )
    return _options(found.x[:count], scores)


def _one_a_site(scores: Table) -> LinearConstraint:
    sizes = [len(row) for row in scores.values()]
    places = np.repeat(np.arange(len(sizes)), sizes)
    matrix = csr_array((np.ones(len(places)), (places, np.arange(len(places)))), shape=(len(sizes), len(places)))
    return LinearConstraint(matrix, 1, 1)


def _within(scores: Table, costs: Sequence[Table], limits: Sequence[float]) -> list[LinearConstraint]:
    """Each row at a scale near 1: seconds and multiply-adds are fifteen orders of magnitude apart."""
    rows = []
    for cost, limit, scale in zip(costs, limits, _scales(costs, limits), strict=True):
        row = np.concatenate([np.asarray(cost[site], dtype=float) for site in scores])
        rows.append(LinearConstraint(csr_array((row / scale)[None]), -np.inf, limit / scale))
    return rows


def _scales(costs: Sequence[Table], limits: Sequence[float]) -> list[float]:
    largest = [max(abs(float(each)) for row in cost.values() for each in row) for cost in costs]
    return [scale or abs(limit) or 1.0 for scale, limit in zip(largest, limits, strict=True)]


def _finite(scores: Table) -> list[np.ndarray]:
    """Scores with something far below all others in the place of minus infinity."""
    rows = [np.asarray(row, dtype=float) for row in scores.values()]
    known = np.concatenate(rows)
    known = known[np.isfinite(known)]
    low, spread = (known.min(), np.ptp(known)) if len(known) else (0.0, 0.0)
    return [np.where(np.isfinite(row), row, low - FAR * (1 + spread)) for row in rows]


def _options(x: np.ndarray, scores: Table) -> dict[str, int]:
    found, start = {}, 0
    for site, row in scores.items():
        found[site] = int(np.argmax(x[start : start + len(row)]))
        start += len(row)
    return found
