"""Costs by their names, as `search.cost` and budgets give them."""

from __future__ import annotations

from dashfx.cost.base import CostModel, TotalCost
from dashfx.cost.counts import Span, Taps
from dashfx.cost.latency.model import MeasuredLatency
from dashfx.cost.macs import Macs
from dashfx.cost.memory import Memory
from dashfx.cost.parameters import Parameters
from dashfx.cost.size import Size

TOTALS: dict[str, type[TotalCost]] = {
    "params": Parameters,
    "macs": Macs,
    "size": Size,
    "memory": Memory,
    "latency": MeasuredLatency,
}
COSTS: dict[str, type[CostModel]] = {"span": Span, "taps": Taps, **TOTALS}

__all__ = ["COSTS", "TOTALS", "CostModel"]  # the kind's base class stands beside its dict
