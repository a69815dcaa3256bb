"""Selection rule, the base: trained mixtures go in, a Genotype of one candidate per site comes out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from dashfx.genotype import Genotype
from dashfx.ops import AggConv


class SelectionRule(ABC):
    """Picks one candidate per site."""

    name: ClassVar[str]

    @abstractmethod
    def select(self, sites: Mapping[str, AggConv]) -> Genotype:
        """One candidate for every site given."""

    def state_dict(self) -> dict[str, Any]:
        """What it remembers from site to site where sites are decided one by one, as tensors and plain values."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Remember what `state_dict` gave."""


class ScoreRule(SelectionRule):
    """A score per candidate; the highest is chosen. Candidates that left the search are never chosen."""

    @abstractmethod
    def scores(self, aggconv: AggConv) -> Tensor:
        """(n_candidates,) on the site's device; higher is better."""

    def select(self, sites: Mapping[str, AggConv]) -> Genotype:
        with torch.no_grad():
            picks = {n: self.scores(a).masked_fill(~a.mask, -torch.inf).argmax() for n, a in sites.items()}
        return Genotype({n: sites[n].candidates[int(pick)] for n, pick in picks.items()}, self.name)
