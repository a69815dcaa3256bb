"""DARTS-PT: the candidate is chosen without which the supernet's loss is worst.

Wang et al., "Rethinking Architecture Selection in Differentiable NAS", ICLR 2021.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch import Tensor

from dashfx.errors import ConfigError
from dashfx.genotype import Genotype
from dashfx.ops import AggConv, decisions_of
from dashfx.space import Candidate
from dashfx.strategies.rules.base import SelectionRule

if TYPE_CHECKING:
    from dashfx.strategies.judge import Judge


@dataclass(frozen=True)
class Perturbation(SelectionRule):
    """The candidate whose coefficient, set to 0 and nothing else changed, raises the held-out loss most.

    Sites come in a random order, those that choose together at once, and each is decided before the next is looked at.
    With `search.discretise=one-by-one` the supernet is trained on in between, as in the paper. It looks once at every
    candidate of every decision.
    """

    seed: int = 0
    name: ClassVar[str] = "perturbation"
    judged: ClassVar[bool] = True
    order: ClassVar[Literal["certain", "random"]] = "random"
    paper: ClassVar[str] = "Wang et al., Rethinking Architecture Selection in Differentiable NAS, ICLR 2021"
    row: ClassVar[str] = "9"

    def select(self, sites: Mapping[str, AggConv]) -> Genotype:
        if any(len(alive(site)) > 1 for site in sites.values()):
            raise ConfigError(
                "rule 'perturbation' measures losses on held-out rows, which only a search that trains mixtures has: "
                "use it as search.rule with search.strategy=dash, or choose argmax, contribution or energy here"
            )
        return Genotype({name: site.candidates[alive(site)[0]] for name, site in sites.items()}, self.name)

    def judged_by(self, judge: Judge, sites: Mapping[str, AggConv]) -> Genotype:
        coef, picks, groups = judge.coefficients(), dict[str, Candidate](), decisions_of(sites)
        order = torch.randperm(len(groups), generator=torch.Generator().manual_seed(self.seed)).tolist()
        for group in (groups[place] for place in order):
            left = [sites[group[0]].candidates[i] for i in alive(sites[group[0]])]
            places = {name: {c: sites[name].candidates.index(c) for c in left} for name in group}
            tried = [{**coef, **{n: without(coef[n], places[n][c]) for n in group}} for c in left] if left[1:] else []
            losses = [judge.loss(each) for each in tried] or [0.0]
            chosen = left[max(range(len(left)), key=lambda place: losses[place])]
            for name in group:
                picks[name], coef[name] = chosen, torch.zeros_like(coef[name])
                coef[name][places[name][chosen]] = 1.0
        return Genotype({name: picks[name] for name in sites}, self.name)


def alive(site: AggConv) -> list[int]:
    """The places of the candidates that are left."""
    found: list[int] = site.mask.nonzero().flatten().tolist()
    return found


def without(coef: Tensor, index: int) -> Tensor:
    """The coefficients with one set to 0; the others keep theirs."""
    left = coef.clone()
    left[index] = 0.0
    return left
