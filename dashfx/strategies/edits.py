"""Edits of a search space: candidates that leave a supernet before its search begins."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from dashfx.blackbox.genomes import GenotypeSpace
from dashfx.blackbox.genotype_table import GenotypeTable, bound_to
from dashfx.blackbox.graphs.autobuild import worths
from dashfx.blackbox.objectives import layers
from dashfx.blackbox.surrogates.importance import effects, harmful
from dashfx.errors import ConfigError
from dashfx.genotype import Genotype
from dashfx.ops import AggConv
from dashfx.plugins import Count, Positive, find, name_of
from dashfx.space import Candidate
from dashfx.strategies.base import Context, Evaluator, evaluator_of

FEWEST = 8  # evaluated genotypes that an importance is read from


class Edit(ABC):
    """Changes the sites in place, in the same way at every call with the same sites: a resumed search does it again."""

    @abstractmethod
    def settle(self, context: Context) -> str:
        """What was done, for the user; "" where nothing was."""


class SiteEdit(Edit):
    """An edit that asks nothing of a run but its sites."""

    @abstractmethod
    def apply(self, sites: Mapping[str, AggConv]) -> str:
        """What `settle` says."""

    def settle(self, context: Context) -> str:
        return self.apply(context.sites)


@dataclass(frozen=True)
class Within(SiteEdit):
    """Candidates leave whose span exceeds a share of their site's input along some axis; a conv's own kernel stays.

    Where all of them exceed it, the one of the smallest span stays.
    """

    share: Positive = 0.5

    def apply(self, sites: Mapping[str, AggConv]) -> str:
        gone = 0
        for site in sites.values():
            kept = self._kept(site)
            gone += len(site.candidates) - len(kept)
            if len(kept) < len(site.candidates):
                site.keep(kept)
        return f"within: {gone} candidates that span more than {self.share:g} of their input leave" if gone else ""

    def _kept(self, site: AggConv) -> list[int]:
        if site.site is None:
            return list(range(len(site.candidates)))
        size = site.site.input_size
        shares = [max(s / n for s, n in zip(c.span, size, strict=True)) for c in site.candidates]
        kept = [i for i, c in enumerate(site.candidates) if shares[i] <= self.share or c == site.original]
        return kept or [shares.index(min(shares))]


@dataclass(frozen=True)
class Pruning(SiteEdit):
    """Candidates leave that do most harm in what was evaluated before; subclasses say what each one is worth.

    A conv's own kernel stays, and so does the best candidate of each decision.

    Args:
        rows: the `evaluations.jsonl` of an earlier run, or a table of genotypes of these sites.
        drop: how many candidates leave, of all sites together; tied sites count once.

    Raises:
        ConfigError: rows of other sites, or too few of these candidates.
    """

    rows: str
    drop: Count = 1

    name: ClassVar[str]

    def __post_init__(self) -> None:
        GenotypeTable.load(self.rows)

    @abstractmethod
    def worths(self, space: GenotypeSpace, known: Mapping[Genotype, float]) -> list[np.ndarray]:
        """One array a decision: how far above their mean each option is, by genotypes with their fitness."""

    def apply(self, sites: Mapping[str, AggConv]) -> str:
        space, known = GenotypeSpace.of(sites), self._known(sites)
        gone: list[str] = []
        for place, option in harmful(self.worths(space, known)):
            names, choice = space.alike[place], space.choices[space.alike[place][0]][option]
            if len(gone) < self.drop and all(choice != sites[name].original for name in names):
                gone.append(f"{names[0]} {choice}")
                for name in names:
                    sites[name].keep([i for i, c in enumerate(sites[name].candidates) if c != choice])
        return f"{self.name}: {', '.join(gone)} leave" if gone else ""

    def _known(self, sites: Mapping[str, AggConv]) -> dict[Genotype, float]:
        """The genotypes of these sites and candidates, each with its fitness."""
        table, found = GenotypeTable.load(self.rows), {}
        space, ndims = GenotypeSpace.of(sites), {name: site.ndim for name, site in sites.items()}
        for genotype, value in table.values.items():
            bound = bound_to(genotype, ndims)
            if bound is not None and space.holds(bound):
                found[bound] = value if table.maximise else -value
        if len(found) < FEWEST:
            raise ConfigError(
                f"edit {self.name}: {self.rows} has {len(found)} genotypes of these sites and candidates, and "
                f"effects take {FEWEST}; give the evaluations of this model in this space"
            )
        return found


@dataclass(frozen=True)
class PruneByImportance(Pruning):
    """Candidates leave that do most harm in what was evaluated before, by the mean effect that a predictor gives them.

    Args:
        predictor: "boosting", "ridge", "gp", "svr", "best" or a Predictor; it sees a one-hot code.
    """

    predictor: Any = field(default="boosting")

    name: ClassVar[str] = "prune-by-importance"
    paper: ClassVar[str] = "Luo et al., Accuracy Prediction with Non-neural Model for Neural Architecture Search, 2020"
    row: ClassVar[str] = "94"

    def __post_init__(self) -> None:
        object.__setattr__(self, "predictor", find("predictor", self.predictor))
        super().__post_init__()

    def worths(self, space: GenotypeSpace, known: Mapping[Genotype, float]) -> list[np.ndarray]:
        return effects(space, list(known), list(known.values()), self.predictor)


@dataclass(frozen=True)
class PruneByNorms(Pruning):
    """Candidates leave whose norms are the smallest in a network of messages that orders what was evaluated before.

    See `dashfx.blackbox.graphs.autobuild`.
    """

    name: ClassVar[str] = "prune-by-norms"
    paper: ClassVar[str] = (
        "Mills et al., Building Optimal Neural Architectures using Interpretable Knowledge, CVPR 2024"
    )
    row: ClassVar[str] = "48"

    def worths(self, space: GenotypeSpace, known: Mapping[Genotype, float]) -> list[np.ndarray]:
        return worths(space, list(known), list(known.values()))


@dataclass(frozen=True)
class Friendly(Edit):
    """Candidates leave beside which another one of their conv makes the whole model no dearer and worth no less.

    Each candidate is put into the untouched model alone. Its friendliness is what the whole model then costs, measured
    from end to end, less what the untouched one does; what it is worth an evaluator says of the same model. Of two that
    are equal in both neither leaves, and a conv's own kernel stays. With `--int8`, costs are sums of the convs'.

    Args:
        cost: one that a budget limits, which says how whole models are measured.
        evaluator: one that asks no trained mixtures.

    Raises:
        ConfigError: no budget of that cost, or another evaluator.
    """

    cost: str = "latency"
    evaluator: Any = "gennas"

    paper: ClassVar[str] = "Mills et al., Profiling Neural Blocks and Design Spaces for Mobile NAS, CIKM 2021"
    row: ClassVar[str] = "32"

    def settle(self, context: Context) -> str:
        sites, gone = context.sites, list[str]()
        space = GenotypeSpace.of(sites)
        groups = {tuple(group): space.choices[group[0]] for group in space.alike if len(space.choices[group[0]]) > 1}
        swaps = {(group, c): dict.fromkeys(group, c) for group, row in groups.items() for c in row}
        costs, values = self._costs(context, list(swaps.values())), self._values(context, list(swaps.values()))
        points = dict(zip(swaps, zip(values, costs, strict=True), strict=True))
        for group, row in groups.items():
            behind = layers([points[group, c] for c in row])
            out = [c for c, layer in zip(row, behind, strict=True) if layer and c != sites[group[0]].original]
            gone += [f"{group[0]} {c}" for c in out]
            for name in group:
                sites[name].keep([i for i, c in enumerate(sites[name].candidates) if c not in out])
        asked = f"{len(swaps)} candidates alone in the model, by {self.cost} and {self._evaluator(context).name}"
        return f"friendly: of {asked}, these leave: {', '.join(gone)}" if gone else ""

    def _costs(self, context: Context, swaps: Sequence[Mapping[str, Candidate]]) -> list[float]:
        """What each makes cheaper, so that more is better."""
        limits = context.limits
        each = limits.each if limits else ()
        found = [i for i, limit in enumerate(each) if name_of("cost", limit.budget.cost) == self.cost]
        if not found or limits is None:
            raise ConfigError(f"edit friendly needs a budget of {self.cost}, which says how it is measured: give --max")
        limit, measure = each[found[0]], limits.measure
        totals = [measure(swap)[found[0]] if measure else limit.total(swap) for swap in swaps]
        return [limit.whole - total for total in totals]

    def _values(self, context: Context, swaps: Sequence[Mapping[str, Candidate]]) -> list[float]:
        """What each is worth; more is better."""
        evaluator = self._evaluator(context)
        if evaluator.training is not None:
            raise ConfigError(
                f"edit friendly comes before mixtures are trained, which {evaluator.name} asks: take gennas"
            )
        evaluating = evaluator.begin(context)
        own = {name: site.original for name, site in context.sites.items()}
        found = evaluating.values([Genotype({**own, **swap}) for swap in swaps])
        signed = [value if evaluating.maximise else -value for value in found]
        return [value if math.isfinite(value) else -math.inf for value in signed]

    def _evaluator(self, context: Context) -> Evaluator:
        return evaluator_of(self.evaluator, context.config) if isinstance(self.evaluator, str) else self.evaluator


EDITS: dict[str, type[Edit]] = {
    "within": Within,
    "prune-by-importance": PruneByImportance,
    "prune-by-norms": PruneByNorms,
    "friendly": Friendly,
}
