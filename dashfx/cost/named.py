"""Costs by their names, as `search.cost` and budgets give them."""

from __future__ import annotations

from dashfx.cost.base import CostModel, TotalCost
from dashfx.cost.bits import Bits
from dashfx.cost.counts import Span, Taps
from dashfx.cost.latency.model import MeasuredLatency
from dashfx.cost.macs import Macs
from dashfx.cost.memory import Memory
from dashfx.cost.parameters import Parameters
from dashfx.cost.size import Size
from dashfx.errors import ConfigError, did_you_mean
from dashfx.plugins import find

TOTALS: dict[str, type[TotalCost]] = {
    "params": Parameters,
    "macs": Macs,
    "size": Size,
    "bits": Bits,
    "memory": Memory,
    "latency": MeasuredLatency,
}
COSTS: dict[str, type[CostModel]] = {"span": Span, "taps": Taps, **TOTALS}


def total_of(name: str, **place: object) -> TotalCost:
    """The cost of that name, of which a whole network has a total.

    Args:
        place: where latency is measured, for a cost that takes it.

    Raises:
        ConfigError: no such cost, or one of convs alone.
    """
    if ":" not in name and name not in TOTALS:
        raise ConfigError(
            f"no cost {name!r}{did_you_mean(name, TOTALS)} of a whole network; there are {', '.join(TOTALS)}"
        )
    cost = find("cost", name, **place)
    if not isinstance(cost, TotalCost):
        raise ConfigError(f"{name} is no dashfx.cost.base.TotalCost, so a network has no total of it")
    return cost


__all__ = ["COSTS", "TOTALS", "CostModel", "total_of"]  # the kind's base class stands beside its dict
