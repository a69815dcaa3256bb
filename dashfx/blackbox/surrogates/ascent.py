"""OptiProxy-NAS: genomes as points between the options, which climb the gradient of a network fitted to what is known.

After "OptiProxy-NAS: Optimization Proxy based End-to-End Neural Architecture Search", 2025, by its abstract.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from dashfx.blackbox.base import Asking, Optimiser, Proposal, Row
from dashfx.blackbox.genomes import G, Space
from dashfx.blackbox.predictors.networks.ensemble import Disagreeing, Ensemble
from dashfx.blackbox.surrogates.base import TRIES, Learning, check_enough, fit
from dashfx.plugins import Count, Positive

NEAR = 2.0  # logit of a known genome's own options where a climb begins at it


@dataclass(frozen=True)
class Ascent(Optimiser):
    """After `start` random genomes, softmax(logits) of each position climbs what networks expect; its argmax is next.

    Args:
        top: how many genomes are asked for between two fits.
        climbs: how many begin, half of them at the best genomes so far, half at random logits.
        steps, rate: of Adam on the logits.
        networks, fitting: of the ensemble, and its steps.
    """

    start: Count = 15
    top: Count = 5
    climbs: Count = 8
    steps: Count = 40
    rate: Positive = 0.2
    networks: Count = 3
    fitting: Count = 100

    paper: ClassVar[str] = "after OptiProxy-NAS: Optimization Proxy based End-to-End Neural Architecture Search, 2025"
    row: ClassVar[str] = "16"

    def __post_init__(self) -> None:
        Ensemble(self.networks, steps=self.fitting)

    def check(self, evaluations: int, objectives: int = 1) -> None:
        check_enough("ascent", "start", self.start, evaluations)

    def begin(self, space: Space[G], generator: torch.Generator, start: Sequence[Row[G]] = ()) -> Asking[G]:
        return Climbing(self, space, generator, start)


class Climbing(Learning[G]):
    """Picks the genomes where climbs end."""

    def __init__(self, settings: Ascent, space: Space[G], generator: torch.Generator, start: Sequence[Row[G]]) -> None:
        super().__init__(settings.start, space, generator, start)
        self._settings = settings

    def _picked(self) -> list[Proposal[G]]:
        """New genomes where climbs ended, the most promising first: the argmax, or draws where that is known."""
        known = sorted(self._rows, key=lambda row: (-row.fitness, row.number))
        settings = self._settings
        networks = Ensemble(settings.networks, steps=settings.fitting)
        fitted = fit(networks, self._space.one_hot, self._rows, self._seed)
        assert isinstance(fitted, Disagreeing)
        begun = known[: settings.climbs // 2]
        soft = climb(fitted, self._started(begun), self._space.levels(), settings)
        parents = [row.number for row in begun] + [None] * (len(soft) - len(begun))
        found: dict[G, int | None] = {}
        for shares, parent in zip(soft, parents, strict=True):
            if (genome := self._snapped(shares, found)) is not None:
                found[genome] = parent
        if not found:
            return []
        genomes = list(found)
        order = np.argsort(-fitted.mean(np.array([self._space.one_hot(each) for each in genomes])), kind="stable")
        return [Proposal(genomes[i], found[genomes[i]]) for i in order[: settings.top].tolist()]

    def _started(self, rows: Sequence[Row[G]]) -> Tensor:
        """(climbs, positions, largest level) logits."""
        levels = self._space.levels()
        shape = self._settings.climbs, len(levels), max(levels)
        logits = torch.randn(shape, generator=self._generator, dtype=torch.float64)
        for own, row in zip(logits, rows, strict=False):
            own.zero_()[torch.arange(len(levels)), torch.tensor(self._space.places(row.genome))] = NEAR
        return logits

    def _snapped(self, shares: Tensor, found: dict[G, int | None]) -> G | None:
        """A genome that is new, by (positions, largest level) shares of the options; None where tries find none."""
        places = shares.argmax(-1)
        for _ in range(TRIES):
            genome = self._space.at(places.tolist())
            if genome not in self._seen and genome not in found:
                return genome
            places = torch.multinomial(shares, 1, generator=self._generator)[:, 0]
        return None


def climb(fitted: Disagreeing, logits: Tensor, levels: Sequence[int], settings: Ascent) -> Tensor:
    """(climbs, positions, largest level): shares of the options where the climbs end, 0 beyond a position's level."""
    there = torch.arange(logits.shape[-1]) < torch.tensor(levels)[:, None]
    logits = logits.clone().requires_grad_()
    optimiser = torch.optim.Adam([logits], settings.rate)
    with torch.enable_grad():
        for _ in range(settings.steps):
            optimiser.zero_grad()
            soft = logits.masked_fill(~there, -torch.inf).softmax(-1)
            (-fitted.values(soft[:, there]).mean(0).sum()).backward()
            optimiser.step()
    return logits.detach().masked_fill(~there, -torch.inf).softmax(-1)
