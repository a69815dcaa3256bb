"""Options that no choice elsewhere can make room for under a budget of something that is counted."""

from __future__ import annotations

from collections.abc import Sequence

from dashfx.cost.base import Choices
from dashfx.cost.budgets import Limit, Limits
from dashfx.cost.macs import Macs
from dashfx.cost.parameters import Parameters
from dashfx.space import Candidate


def never_held(limits: Limits, choices: Choices, alike: Sequence[Sequence[str]]) -> dict[str, set[Candidate]]:
    """Site -> its options with which the network breaks a budget of params or macs even if all other sites take least.

    Args:
        alike: the sites that choose together, each in one group.
    """
    gone: dict[str, set[Candidate]] = {}
    for limit in limits.each:
        if not isinstance(limit.budget.cost, Parameters | Macs):
            continue
        costs = [_costs(limit, group, choices) for group in alike]
        rows = zip(costs, alike, strict=True)
        least = [min(*row.values(), sum(limit.own[name] for name in group)) for row, group in rows]
        others = [cost for name, cost in limit.own.items() if not any(name in group for group in alike)]
        whole = limit.rest + sum(least) + sum(others)
        for row, own, group in zip(costs, least, alike, strict=True):
            never = {choice for choice, cost in row.items() if not limit.holds(whole - own + cost)}
            for name in group if never and len(never) < len(row) else ():
                gone.setdefault(name, set()).update(never)
    return {name: found for name, found in gone.items() if len(found) < len(choices[name])}


def _costs(limit: Limit, group: Sequence[str], choices: Choices) -> dict[Candidate, float]:
    rows = {name: limit.least_of(name) for name in group}
    return {choice: sum(rows[name][choice] for name in group) for choice in choices[group[0]]}
