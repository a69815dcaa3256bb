"""Expected costs of networks: mixtures go in; what a draw from them costs on average comes out, with gradient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dashfx.cost.base import TotalCost, site_of
from dashfx.cost.budgets import Limit
from dashfx.errors import ConfigError
from dashfx.ops import AggConv
from dashfx.ops.ties import logits_of
from dashfx.plugins import find, name_of

if TYPE_CHECKING:
    from dashfx.strategies.engine import Engine


@dataclass(frozen=True)
class Expected:
    """E = constant + sum over the sites of <coefficients, costs>, in shares of a limit or of the untouched model.

    Attributes:
        table: site -> (n_candidates,).
        untouched: E with every conv's own kernel.
        most: what a budget allows; infinite without one.
    """

    constant: float
    table: Mapping[str, Tensor]
    untouched: float
    most: float = float("inf")

    @classmethod
    def of_limit(cls, limit: Limit, sites: Mapping[str, AggConv]) -> Expected:
        """Of the whole model, in shares of what a budget allows."""
        fixed = limit.rest + sum(own for name, own in limit.own.items() if name not in sites)
        table = {
            name: _row(site, [limit.costs[name][c] / limit.most for c in site.candidates])
            for name, site in sites.items()
        }
        own = sum(limit.own[name] for name in sites)
        return cls(fixed / limit.most, table, (fixed + own) / limit.most, 1.0)

    @classmethod
    def of_cost(cls, cost: TotalCost, sites: Mapping[str, AggConv]) -> Expected:
        """Of the sites alone, in shares of what they cost with their own kernels."""
        own = sum(cost.at(site_of(site), site_of(site).original) for site in sites.values()) or 1.0
        table = {name: _row(site, [each / own for each in cost.of(site)]) for name, site in sites.items()}
        return cls(0.0, table, 1.0)

    def __call__(self, coef: Mapping[str, Tensor]) -> Tensor:
        """E of coefficients (n_candidates,) a site; a scalar."""
        return self.constant + torch.stack([(row * coef[name]).sum() for name, row in self.table.items()]).sum()


def _row(site: AggConv, costs: list[float]) -> Tensor:
    return torch.tensor(costs, dtype=site.alpha.dtype, device=site.alpha.device)


def expected_cost_of(engine: Engine, name: str) -> Expected:
    """The cost of that name: the whole model's where a budget limits it, else that of the sites alone.

    Raises:
        ConfigError: no cost of whole networks is called so.
    """
    for limit in engine.limits.each if engine.limits else ():
        if name_of("cost", limit.budget.cost) == name:
            return Expected.of_limit(limit, engine.sites)
    cost = find("cost", name)
    if not isinstance(cost, TotalCost):
        raise ConfigError(f"cost {name!r} is no cost of a whole network; take params, macs, size or latency")
    return Expected.of_cost(cost, engine.sites)


def limited_costs(engine: Engine) -> list[Expected]:
    """The costs that the search's budgets limit and choices change."""
    limits = engine.limits.each if engine.limits else ()
    return [Expected.of_limit(limit, engine.sites) for limit in limits if limit.is_chosen]


def noise_free(engine: Engine) -> dict[str, Tensor]:
    """Coefficients without noise, with gradient."""
    pairs = zip(engine.sites.items(), logits_of(engine.sites), strict=True)
    return {name: engine.relaxation(logits, site.mask, None) for (name, site), logits in pairs}
