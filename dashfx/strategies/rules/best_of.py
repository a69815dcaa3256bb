"""The best of several draws from the mixtures, by the loss on held-out rows, as FBNet and ProxylessNAS end.

Wu et al., "FBNet: Hardware-Aware Efficient ConvNet Design via Differentiable Neural Architecture Search", CVPR 2019.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from dashfx.cost.budgets import Limits, first_held
from dashfx.errors import ConfigError
from dashfx.genotype import Genotype
from dashfx.ops import AggConv, decisions_of
from dashfx.plugins import Count
from dashfx.strategies.rules.argmax import Argmax
from dashfx.strategies.rules.base import SelectionRule, one_hot

if TYPE_CHECKING:
    from dashfx.strategies.judge import Judge


@dataclass(frozen=True)
class BestOf(SelectionRule):
    """Genotypes are drawn from the coefficients, the likeliest one beside them; the one of the least loss is chosen.

    A draw is the best choice by logarithms of coefficients plus Gumbel noise: without budgets that is the coefficients'
    own distribution, with them only what is allowed is drawn.

    Args:
        draws: how many are judged.
    """

    draws: Count = 10
    seed: int = 0
    name: ClassVar[str] = "best-of"
    judged: ClassVar[bool] = True
    paper: ClassVar[str] = "Wu et al., FBNet, CVPR 2019; Cai et al., ProxylessNAS, ICLR 2019"
    row: ClassVar[str] = "104"

    def select(self, sites: Mapping[str, AggConv]) -> Genotype:
        if any(int(site.mask.sum()) > 1 for site in sites.values()):
            raise ConfigError(
                "rule 'best-of' measures losses on held-out rows, which only a search that trains mixtures has: use it "
                "as search.rule with search.strategy=dash, or choose argmax, contribution or energy here"
            )
        return Genotype(Argmax().select(sites), self.name)

    def judged_by(self, judge: Judge, sites: Mapping[str, AggConv]) -> Genotype:
        return self.ranked(judge, sites, None)[0]

    def within(self, sites: Mapping[str, AggConv], limits: Limits | None, judge: Judge | None = None) -> Genotype:
        """The draw of the least loss whose whole model holds the limits."""
        if judge is None or limits is None:
            return super().within(sites, limits, judge)
        found = first_held(self.ranked(judge, sites, limits), limits)
        return Genotype(found, f"{self.name} within {limits}")

    def ranked(self, judge: Judge, sites: Mapping[str, AggConv], limits: Limits | None) -> list[Genotype]:
        """Distinct draws, the best first."""
        generator = torch.Generator().manual_seed(self.seed)
        first = Argmax().within(sites, limits)
        drawn = [first, *(self._draw(sites, limits, generator) for _ in range(self.draws - 1))]
        found = {Genotype(each, self.name): None for each in drawn}
        coef = judge.coefficients()
        losses = {each: judge.loss({**coef, **one_hot(sites, each)}) for each in found}
        return sorted(found, key=lambda each: losses[each])

    def _draw(self, sites: Mapping[str, AggConv], limits: Limits | None, generator: torch.Generator) -> Genotype:
        groups, scores = decisions_of(sites), Argmax().preferred(sites)
        for first, *others in groups:
            noise = -torch.empty(len(scores[first])).exponential_(generator=generator).log()  # Gumbel(0, 1)
            scores[first] = {c: s + n for (c, s), n in zip(scores[first].items(), noise.tolist(), strict=True)}
            for other in others:
                scores[other] = dict.fromkeys(scores[first], 0.0)  # the group's sum is the first one's
        if limits is not None:
            return limits.best(scores, groups)
        rows = {name: scores[group[0]] for group in groups for name in group}
        return Genotype({name: max(rows[name], key=rows[name].__getitem__) for name in sites})
