"""Controls: choices without a look at the mixtures, which every search has to beat."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch

from dashfx.genotype import Genotype
from dashfx.ops import AggConv
from dashfx.strategies.rules.base import SelectionRule


@dataclass(frozen=True)
class RandomChoice(SelectionRule):
    """A uniform draw per site among what is alive: the control that every search has to beat."""

    seed: int = 0
    name: ClassVar[str] = "random"

    def select(self, sites: Mapping[str, AggConv]) -> Genotype:
        generator = torch.Generator().manual_seed(self.seed)
        alive = {name: aggconv.mask.nonzero().flatten().tolist() for name, aggconv in sites.items()}
        picks = {n: left[int(torch.randint(len(left), (), generator=generator))] for n, left in alive.items()}
        return Genotype({n: sites[n].candidates[pick] for n, pick in picks.items()}, f"random, seed {self.seed}")


@dataclass(frozen=True)
class Untouched(SelectionRule):
    """Each conv's own kernel: the model as it is."""

    name: ClassVar[str] = "untouched"

    def select(self, sites: Mapping[str, AggConv]) -> Genotype:
        return Genotype({name: site.original for name, site in sites.items()}, self.name)
