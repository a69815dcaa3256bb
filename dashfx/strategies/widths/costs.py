"""Costs of widths: multiply-adds and parameters as functions of the channels that stay, and which leave first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dashfx.cost.base import TotalCost
from dashfx.cost.macs import Macs
from dashfx.cost.parameters import Parameters
from dashfx.frontend.tracing import Program
from dashfx.passes.narrow import Channels


@dataclass(frozen=True, eq=False)
class WidthCost:
    """sum over parts of pairs * n_in * n_out + single * n_out, and the rest, which no width changes.

    Attributes:
        ins, outs: (parts, channels): how many inputs and outputs of a part each channel is.
        fixed: (2, parts): those that stay in any case.
        pairs, single: (parts,).
        most: the budget.
    """

    ins: Tensor
    outs: Tensor
    fixed: Tensor
    pairs: Tensor
    single: Tensor
    rest: float
    most: float
    text: str = ""

    @classmethod
    def of(cls, channels: Channels, program: Program, cost: TotalCost, most: float, text: str = "") -> WidthCost:
        """The cost of a traced model by its channels.

        Args:
            cost: `Macs` or `Parameters`.
            most: in its unit.
        """
        parts, macs = channels.parts, isinstance(cost, Macs)
        ins, outs = (torch.zeros(len(parts), channels.count + 1, dtype=torch.float64) for _ in range(2))
        pairs, single = (torch.zeros(len(parts), dtype=torch.float64) for _ in range(2))
        for row, part in enumerate(parts):
            for table, units in ((ins, part.ins), (outs, part.outs)):
                for unit in units:
                    table[row, unit] += 1  # -1, the last column, for those that stay
            if part.role == "dense":
                pairs[row] = part.taps / part.groups * (part.positions if macs else 1)
            if macs:
                single[row] = part.taps * part.positions if part.role == "depthwise" else 0
            else:
                single[row] = part.each
        fixed = torch.stack([ins[:, -1], outs[:, -1]])
        made = cls(ins[:, :-1], outs[:, :-1], fixed, pairs, single, 0.0, most, text)
        whole = float(made.total(torch.ones(channels.count, dtype=torch.float64)))
        return replace(made, rest=cost.whole(program) - whole)

    @staticmethod
    def takes(cost: TotalCost) -> bool:
        """Whether a cost is known as a function of widths."""
        return isinstance(cost, Macs | Parameters)

    def total(self, stays: Tensor) -> Tensor:
        """0-dim, with gradient.

        Args:
            stays: (channels,): 1 for a channel that stays, 0 for one that leaves.
        """
        stays = stays.double()
        n_in, n_out = self.ins @ stays + self.fixed[0], self.outs @ stays + self.fixed[1]
        return (self.pairs * n_in * n_out + self.single * n_out).sum() + self.rest

    def each(self, stays: Tensor) -> Tensor:
        """(channels,): what less it costs without each of the channels that stay."""
        stays = stays.double()
        n_in, n_out = self.ins @ stays + self.fixed[0], self.outs @ stays + self.fixed[1]
        by_out, by_in = self.pairs * n_in + self.single, self.pairs * n_out
        return self.outs.T @ by_out + self.ins.T @ by_in - (self.ins * self.outs).T @ self.pairs


@torch.no_grad()
def leaving(
    worth: Tensor, stays: Tensor, groups: Sequence[Sequence[int]], cost: WidthCost, most: float, least: float
) -> list[int]:
    """The channels that leave, one by one that of the least worth for what it costs, until the cost is held.

    Args:
        worth: (channels,) not below 0.
        stays: (channels,) True where a channel is there yet.
        groups: the channels of each group, which keeps a share `least`, and one at least.
        most: what may be left of the cost.
    """
    stays, gone = stays.clone(), list[int]()
    of = {unit: number for number, units in enumerate(groups) for unit in units}
    room = [int(stays[list(units)].sum()) - max(1, round(least * len(units))) for units in groups]
    free = stays & torch.tensor([room[of[unit]] > 0 for unit in range(len(stays))])
    while float(cost.total(stays)) > most and bool(free.any()):
        price = worth.double() / cost.each(stays).clamp_min(1e-9)
        unit = int(price.masked_fill(~free, torch.inf).argmin())
        gone.append(unit)
        stays[unit] = free[unit] = False
        room[of[unit]] -= 1
        if room[of[unit]] == 0:
            free[list(groups[of[unit]])] = False
    return gone
