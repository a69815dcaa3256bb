"""Selection rule, the base: trained mixtures go in, a Genotype of one candidate per site comes out."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from torch import Tensor

from dashfx.cost.budgets import Limits
from dashfx.genotype import Genotype
from dashfx.ops import AggConv, decisions_of
from dashfx.ops.ties import alive
from dashfx.space import Candidate

if TYPE_CHECKING:
    from dashfx.strategies.judge import Judge


class SelectionRule(ABC):
    """Picks one candidate per site.

    Attributes:
        judged: whether it asks a judge, for whom a share of the training part is held out from the weights.
        order: of one-by-one: which site comes next, the one whose mixture is the most certain, or any.
    """

    name: ClassVar[str]
    judged: ClassVar[bool] = False
    order: ClassVar[Literal["certain", "random"]] = "certain"

    @abstractmethod
    def select(self, sites: Mapping[str, AggConv]) -> Genotype:
        """One candidate for every site given."""

    def within(self, sites: Mapping[str, AggConv], limits: Limits | None, judge: Judge | None = None) -> Genotype:
        """What it chooses if that costs no more than the limits allow; else what is preferred most of all that does.

        Args:
            judge: whom it asks, where it is `judged`.
        """
        found = self.judged_by(judge, sites) if judge else self.select(sites)
        if limits is None:
            return found
        if (held := limits.settled(found)) is not None:
            return held
        best = limits.chosen(self.preferred(sites), decisions_of(sites))
        return replace(best, rule=f"{found.rule} within {limits}")

    @torch.no_grad()
    def preferred(self, sites: Mapping[str, AggConv]) -> dict[str, dict[Candidate, float]]:
        """How much each candidate that is alive is preferred."""
        rows = {name: (self.preferences(site).tolist(), site.mask.tolist()) for name, site in sites.items()}
        return {
            name: {c: score for c, score, kept in zip(sites[name].candidates, *row, strict=True) if kept}
            for name, row in rows.items()
        }

    def preferences(self, aggconv: AggConv) -> Tensor:
        """(n_candidates,), to be added up over the sites: logarithms of coefficients, so that shares multiply."""
        return aggconv.coefficients().log()

    def judged_by(self, judge: Judge, sites: Mapping[str, AggConv]) -> Genotype:
        """The same with a judge to ask, who knows all sites; some of them may be decided already."""
        return self.select(sites)

    def state_dict(self) -> dict[str, Any]:
        """What it remembers from site to site where sites are decided one by one, as tensors and plain values."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Remember what `state_dict` gave."""


class ScoreRule(SelectionRule):
    """A score per candidate; the highest is chosen. Candidates that left the search are never chosen.

    Of sites that make one decision, the candidate is chosen that the fewest of them rule out (by minus infinity), and
    of these the one of the largest sum of scores.
    """

    @abstractmethod
    def scores(self, aggconv: AggConv) -> Tensor:
        """(n_candidates,) on the site's device; higher is better."""

    def select(self, sites: Mapping[str, AggConv]) -> Genotype:
        with torch.no_grad():
            scores = {n: self.scores(a).masked_fill(~a.mask, -torch.inf) for n, a in sites.items()}
        decided = {n: _best(group, sites, scores) for group in decisions_of(sites) for n in group}
        return Genotype({n: decided[n] for n in sites}, self.name)

    def preferences(self, aggconv: AggConv) -> Tensor:
        return self.scores(aggconv)


def _best(group: Sequence[str], sites: Mapping[str, AggConv], scores: Mapping[str, Tensor]) -> Candidate:
    """What the sites of one decision choose."""
    first, *others = group
    if not others:
        return sites[first].candidates[int(scores[first].argmax())]
    rows = [dict(zip(sites[name].candidates, scores[name].tolist(), strict=True)) for name in group]
    known = {c: [row[c] for row in rows if math.isfinite(row[c])] for c in alive(sites[first])}
    return max(known, key=lambda c: (len(known[c]), sum(known[c])))


def one_hot(sites: Mapping[str, AggConv], genotype: Genotype) -> dict[str, Tensor]:
    """Coefficients (n_candidates,) a site: one for the genotype's choice."""
    coefficients = {}
    for name, site in sites.items():
        coefficients[name] = torch.zeros_like(site.alpha.detach())
        coefficients[name][site.candidates.index(genotype[name])] = 1.0
    return coefficients
