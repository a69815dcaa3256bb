"""DropNAS: candidates are left out at random, by groups, so that those which learn slowly are not starved.

Hong et al., "DropNAS: Grouped Operation Dropout for Differentiable Architecture Search", IJCAI 2020.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from dashfx.ops.relaxations.base import Progress, Relaxation, masked_softmax
from dashfx.plugins import Count


@dataclass
class GroupedDrop(Relaxation):
    """softmax over those that are left: of m in a group, each leaves with rate^(1/m), and one always stays.

    Groups are equal shares of a site's candidates by their taps. When architecture parameters have moved, what was left
    out gets its logit back and those that were left are shifted together, so that the probability of each candidate
    that was left out is as before.

    Args:
        rate: the probability that all of a group would leave.
    """

    groups: Count = 3
    rate: Annotated[float, Field(ge=0, lt=1)] = 3e-5
    table: Tensor | None = field(default=None, init=False, repr=False, compare=False)
    drawn: tuple[Tensor, Tensor] | None = field(default=None, init=False, repr=False, compare=False)
    paper: ClassVar[str] = "Hong et al., DropNAS: Grouped Operation Dropout, IJCAI 2020"
    row: ClassVar[str] = "20"

    def __call__(self, logits: Tensor, mask: Tensor, generator: torch.Generator | None = None) -> Tensor:
        if generator is None:
            return masked_softmax(logits, mask)
        left = self.left(mask, generator)
        self.drawn = left, logits.detach()
        return masked_softmax(logits, left)

    def left(self, mask: Tensor, generator: torch.Generator) -> Tensor:
        """Which candidates stay, of the shape of `mask`."""
        draw = torch.rand(mask.shape, generator=generator, device=mask.device)
        groups, stays = self._groups(mask), torch.zeros_like(mask)
        for group in range(self.groups):
            members = mask & (groups == group)
            size = members.sum(-1, keepdim=True)
            own = members & (draw >= self.rate ** (1 / size.clamp_min(1)))
            last = draw.masked_fill(~members, -1.0)  # where all would leave, each is as likely to be the largest
            spared = members & (last == last.amax(-1, keepdim=True))
            stays |= torch.where(own.any(-1, keepdim=True), own, spared)
        return stays

    def _groups(self, mask: Tensor) -> Tensor:
        if self.table is not None and self.table.shape == mask.shape:
            return self.table.to(mask.device)
        place = torch.arange(mask.shape[-1], device=mask.device)
        return (place * self.groups // mask.shape[-1]).expand(mask.shape)

    def attach(self, engine: Any) -> None:
        """Groups by taps, one row a site."""
        sites, width = list(engine.sites.values()), max(len(site.candidates) for site in engine.sites.values())
        table = torch.zeros(len(sites), width, dtype=torch.long)
        for row, site in zip(table, sites, strict=True):
            order = sorted(range(len(site.candidates)), key=lambda i: site.candidates[i].taps)
            for rank, index in enumerate(order):
                row[index] = rank * self.groups // len(order)
        self.table, self.drawn = table.to(engine.accelerator.device), None

    def begin(self, progress: Progress) -> None:
        self.drawn = None

    @torch.no_grad()
    def after_step(self, engine: Any) -> None:
        if self.drawn is None:
            return
        for alpha, left, before in zip(engine.alphas, *self.drawn, strict=True):
            stays, old = left[: len(alpha)], before[: len(alpha)].to(alpha)
            alike = [each.masked_fill(~stays, -torch.inf).logsumexp(-1) for each in (old, alpha)]
            alpha.copy_(torch.where(stays, alpha + (alike[0] - alike[1]), old))
