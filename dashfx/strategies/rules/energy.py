"""The smallest support that keeps the aggregated kernel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from dashfx.cost.counts import conv_weights
from dashfx.ops import AggConv
from dashfx.plugins import Share
from dashfx.space import DENSE
from dashfx.strategies.rules.base import ScoreRule


@dataclass(frozen=True)
class Energy(ScoreRule):
    """The candidate with the fewest taps whose support keeps nearly all of the kernel that any support keeps.

    share_i = ||K on the support of i||^2 / ||K||^2; eligible are shares of at least `keep` times the best share; among
    them the fewest taps win, then the larger share. It depends on the aggregated kernel alone, so no rescaling changes
    it. A candidate of another family than dense keeps what is left of the kernel in the nearest of its own; where there
    are such, weights count instead of taps.
    """

    keep: Share = 0.9
    name: ClassVar[str] = "energy"

    def scores(self, aggconv: AggConv) -> Tensor:
        energy = torch.stack([aggconv.nearest(i).square().sum() for i in range(len(aggconv.candidates))])
        share = energy / energy.max().clamp_min(torch.finfo(energy.dtype).tiny)
        plain = all(candidate.family == DENSE for candidate in aggconv.candidates)
        sizes = [c.taps if plain else conv_weights(aggconv.facts, c) for c in aggconv.candidates]
        taps = torch.tensor(sizes, dtype=energy.dtype, device=energy.device)
        alive = share.masked_fill(~aggconv.mask, 0.0)
        eligible = alive >= self.keep * alive.max()
        # Taps are whole numbers and shares at most 1, so half a share never outweighs a tap.
        return torch.where(eligible, -taps + 0.5 * share, -torch.inf)
