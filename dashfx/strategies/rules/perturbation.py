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
from dashfx.ops import AggConv
from dashfx.strategies.rules.base import SelectionRule

if TYPE_CHECKING:
    from dashfx.strategies.judge import Judge


@dataclass(frozen=True)
class Perturbation(SelectionRule):
    """The candidate whose coefficient, set to 0 and nothing else changed, raises the held-out loss most.

    Sites come in a random order, and each is decided before the next is looked at. With `search.discretise=one-by-one`
    the supernet is trained on in between, as in the paper. It looks once at every candidate of every site.
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
        coef, picks, names = judge.coefficients(), dict[str, int](), list(sites)
        order = torch.randperm(len(names), generator=torch.Generator().manual_seed(self.seed)).tolist()
        for name in (names[place] for place in order):
            left = alive(sites[name])
            losses = [judge.loss({**coef, name: without(coef[name], i)}) for i in left] if len(left) > 1 else [0.0]
            picks[name] = left[max(range(len(left)), key=lambda place: losses[place])]
            coef[name] = torch.zeros_like(coef[name])
            coef[name][picks[name]] = 1.0
        return Genotype({name: site.candidates[picks[name]] for name, site in sites.items()}, self.name)


def alive(site: AggConv) -> list[int]:
    """The places of the candidates that are left."""
    found: list[int] = site.mask.nonzero().flatten().tolist()
    return found


def without(coef: Tensor, index: int) -> Tensor:
    """The coefficients with one set to 0; the others keep theirs."""
    left = coef.clone()
    left[index] = 0.0
    return left
