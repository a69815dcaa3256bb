"""DARTS+, by ranks: a search stops when the order of each site's candidates has not changed for so many epochs.

After Liang et al., "DARTS+: Improved Differentiable Architecture Search with Early Stopping", 2019.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from dashfx.ops import AggConv
from dashfx.plugins import Count
from dashfx.strategies.monitors.base import Action, Context, Monitor, Stop


@dataclass
class RankStable(Monitor):
    """Stop when no site's order of coefficients has changed for so many epochs that followed warm-up and fade."""

    epochs: Count = 10
    orders: dict[str, list[str]] = field(default_factory=dict, init=False, repr=False)
    same: int = field(default=0, init=False)
    paper: ClassVar[str] = "Liang et al., DARTS+: Improved Differentiable Architecture Search with Early Stopping, 2019"
    row: ClassVar[str] = "18"

    def on_epoch(self, ctx: Context) -> Sequence[Action]:
        orders = {name: order_of(site) for name, site in ctx.sites.items()}
        self.same = self.same + 1 if orders == self.orders else 0
        self.orders = orders
        if ctx.settled < self.epochs or self.same < self.epochs:
            return []
        return [Stop(f"no site's order of candidates has changed for {self.epochs} epochs")]

    def state_dict(self) -> dict[str, Any]:
        return {"orders": self.orders, "same": self.same}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.orders, self.same = dict(state["orders"]), state["same"]


def order_of(site: AggConv) -> list[str]:
    """Its candidates, those with the largest coefficients first; of equals the one that stands first."""
    coef = site.coefficients().tolist()
    return [str(site.candidates[i]) for i in sorted(range(len(coef)), key=lambda i: -coef[i])]
