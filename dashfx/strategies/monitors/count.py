"""DARTS+, by counts: a search stops when too many sites lean towards one kind of candidate, a sign of collapse.

After Liang et al., "DARTS+: Improved Differentiable Architecture Search with Early Stopping", 2019.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from dashfx.ops import AggConv
from dashfx.plugins import Count
from dashfx.space import Candidate
from dashfx.strategies.monitors.base import Action, Context, Monitor, Stop
from dashfx.strategies.rules import Argmax

Kind = Literal["widest", "narrowest", "original"]


@dataclass
class CountSites(Monitor):
    """Stop when so many sites have their largest coefficient at a candidate of a kind, once mixtures move.

    The paper counts skips, of which two in a cell are too many; here it is the widest or the narrowest candidate of a
    site, by the positions that it spans, or the conv's own kernel.
    """

    sites: Count
    kind: Kind = "widest"
    paper: ClassVar[str] = "Liang et al., DARTS+: Improved Differentiable Architecture Search with Early Stopping, 2019"
    row: ClassVar[str] = "18"

    def on_epoch(self, ctx: Context) -> Sequence[Action]:
        choices = Argmax().select(ctx.sites)
        found = sum(is_kind(site, choices[name], self.kind) for name, site in ctx.sites.items())
        if not ctx.warm or found < self.sites:
            return []
        return [Stop(f"{found} sites lean towards their {self.kind} candidate, and {self.sites} are too many")]


def is_kind(site: AggConv, candidate: Candidate, kind: Kind) -> bool:
    """Whether a candidate of a site is of the kind; no candidate is the widest or narrowest of equals."""
    if kind == "original":
        return candidate == site.original
    spans = [sum(each.span) for each in site.candidates]
    bound = max(spans) if kind == "widest" else min(spans)
    return min(spans) < max(spans) and sum(candidate.span) == bound
