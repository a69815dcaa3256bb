"""Selection rules: trained mixtures go in, a Genotype of one candidate per site comes out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from dashfx.blackbox.genomes import GenotypeSpace
from dashfx.cost.budgets import Limits
from dashfx.genotype import Genotype
from dashfx.ops import AggConv
from dashfx.plugins import Share
from dashfx.space import Candidate
from dashfx.strategies.limited import Limited


class SelectionRule(ABC):
    """Picks one candidate per site."""

    name: ClassVar[str]

    @abstractmethod
    def select(self, sites: Mapping[str, AggConv]) -> Genotype:
        """One candidate for every site given."""

    def within(self, sites: Mapping[str, AggConv], limits: Limits | None) -> Genotype:
        """The same where it costs no more than the limits allow; else what is preferred the most of all that does."""
        found = self.select(sites)
        if limits is None or limits.hold(found):
            return found
        return Genotype(limits.best(self.preferred(sites)), f"{found.rule} within {limits}")

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

    def preferences(self, aggconv: AggConv) -> Tensor:
        return self.scores(aggconv)


@dataclass(frozen=True)
class Argmax(ScoreRule):
    """The largest coefficient, as in the paper. Scaling a weight down and its coefficient up can change the choice."""

    name: ClassVar[str] = "argmax"

    def scores(self, aggconv: AggConv) -> Tensor:
        return aggconv.coefficients()

    def preferences(self, aggconv: AggConv) -> Tensor:
        return self.scores(aggconv).log()


@dataclass(frozen=True)
class Contribution(ScoreRule):
    """The largest a_i * ||W_i||: what the candidate adds to the aggregated kernel, whatever the split of scale."""

    name: ClassVar[str] = "contribution"

    def scores(self, aggconv: AggConv) -> Tensor:
        norms = torch.stack([weight.norm() for weight in aggconv.weights])
        return aggconv.coefficients() * norms


@dataclass(frozen=True)
class Energy(ScoreRule):
    """The candidate with the fewest taps whose support keeps nearly all of the kernel that any support keeps.

    share_i = ||K on the support of i||^2 / ||K||^2; eligible are shares of at least `keep` times the best share; among
    them the fewest taps win, then the larger share. It depends on the aggregated kernel alone, so no rescaling changes
    it.
    """

    keep: Share = 0.9
    name: ClassVar[str] = "energy"

    def scores(self, aggconv: AggConv) -> Tensor:
        energy = torch.stack([aggconv.restricted(i).square().sum() for i in range(len(aggconv.candidates))])
        share = energy / energy.max().clamp_min(torch.finfo(energy.dtype).tiny)
        taps = torch.tensor([c.taps for c in aggconv.candidates], dtype=energy.dtype, device=energy.device)
        alive = share.masked_fill(~aggconv.mask, 0.0)
        eligible = alive >= self.keep * alive.max()
        # Taps are whole numbers and shares at most 1, so half a share never outweighs a tap.
        return torch.where(eligible, -taps + 0.5 * share, -torch.inf)


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

    def within(self, sites: Mapping[str, AggConv], limits: Limits | None) -> Genotype:
        """The first draw that costs no more than the limits allow."""
        if limits is None:
            return self.select(sites)
        found, generator = self.select(sites), torch.Generator().manual_seed(self.seed)
        if not limits.hold(found):
            space = Limited(GenotypeSpace.of(sites), limits)
            found = Genotype(space.sample(generator), f"{found.rule} within {limits}")
        return found


@dataclass(frozen=True)
class Untouched(SelectionRule):
    """Each conv's own kernel: the model as it is."""

    name: ClassVar[str] = "untouched"

    def select(self, sites: Mapping[str, AggConv]) -> Genotype:
        return Genotype({name: site.original for name, site in sites.items()}, self.name)

    def within(self, sites: Mapping[str, AggConv], limits: Limits | None) -> Genotype:
        """It is what it is."""
        return self.select(sites)


RULES: dict[str, type[SelectionRule]] = {
    "argmax": Argmax,
    "contribution": Contribution,
    "energy": Energy,
    "random": RandomChoice,
}
