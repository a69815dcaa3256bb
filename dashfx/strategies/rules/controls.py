"""Controls: choices without a look at the mixtures, which every search has to beat."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from dashfx.blackbox.genomes import GenotypeSpace
from dashfx.cost.budgets import TRIES, Limits, first_held
from dashfx.genotype import Genotype
from dashfx.ops import AggConv
from dashfx.strategies.evaluated.limited import Limited
from dashfx.strategies.rules.base import SelectionRule

if TYPE_CHECKING:
    from dashfx.strategies.judge import Judge


@dataclass(frozen=True)
class RandomChoice(SelectionRule):
    """A uniform draw per decision among what is alive, tied sites alike: the control that every search has to beat."""

    seed: int = 0
    name: ClassVar[str] = "random"

    def select(self, sites: Mapping[str, AggConv]) -> Genotype:
        generator = torch.Generator().manual_seed(self.seed)
        return Genotype(GenotypeSpace.of(sites).sample(generator), f"random, seed {self.seed}")

    def within(self, sites: Mapping[str, AggConv], limits: Limits | None, judge: Judge | None = None) -> Genotype:
        """The first draw that costs no more than the limits allow."""
        found, generator = self.select(sites), torch.Generator().manual_seed(self.seed)
        if limits is None or limits.held(found):
            return found
        space = Limited(GenotypeSpace.of(sites), limits)
        draws = (space.sample(generator) for _ in range(TRIES))
        return Genotype(first_held(draws, limits), f"{found.rule} within {limits}")


@dataclass(frozen=True)
class Untouched(SelectionRule):
    """Each conv's own kernel: the model as it is."""

    name: ClassVar[str] = "untouched"

    def select(self, sites: Mapping[str, AggConv]) -> Genotype:
        return Genotype({name: site.original for name, site in sites.items()}, self.name)

    def within(self, sites: Mapping[str, AggConv], limits: Limits | None, judge: Judge | None = None) -> Genotype:
        """It is what it is."""
        return self.select(sites)
