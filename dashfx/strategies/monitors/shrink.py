"""Shrinking mixtures: candidates leave a search whose coefficient stays small."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dashfx.ops import AggConv
from dashfx.plugins import Count, Share
from dashfx.strategies.monitors.base import Action, Context, Drop, Monitor


@dataclass
class Shrink(Monitor):
    """Candidates leave whose coefficient has stayed below a share of their site's largest for some epochs.

    It is counted from the end of the warm-up on. What leaves takes its part of the mixed kernel along, at most `share`
    of what the largest puts in; the mixed kernel, and with it the transform, shrink to what is left.
    """

    share: Share
    epochs: Count = 3
    below: dict[str, dict[str, int]] = field(default_factory=dict, init=False)

    def on_epoch(self, ctx: Context) -> Sequence[Action]:
        return [action for name, site in ctx.sites.items() for action in self._leaving(name, site)] if ctx.warm else []

    def _leaving(self, name: str, site: AggConv) -> list[Action]:
        coef = site.coefficients().tolist()
        before, least = self.below.get(name, {}), self.share * max(coef)
        low = [candidate for candidate, value in zip(site.candidates, coef, strict=True) if value < least]
        self.below[name] = {str(candidate): before.get(str(candidate), 0) + 1 for candidate in low}
        return [Drop(name, candidate) for candidate in low if self.below[name][str(candidate)] >= self.epochs]

    def state_dict(self) -> dict[str, Any]:
        return {"below": self.below}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.below = {name: dict(counts) for name, counts in state["below"].items()}
