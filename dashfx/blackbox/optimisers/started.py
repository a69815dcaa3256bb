"""Warm start of a black-box search: genomes that did well elsewhere are evaluated first, then the search begins.

Sarah, Cummings, Sridhar, Szankin and others, "A Hardware-Aware System for Accelerating Deep Neural Network
Optimization", 2022: results of another device or cost are where a search on this one starts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from dashfx.blackbox.base import Asking, Optimiser, Proposal, Row
from dashfx.blackbox.genomes import G, Space


@dataclass(frozen=True)
class Started(Optimiser):
    """Another optimiser that goes on from genomes of an earlier search, whose values are found anew.

    Args:
        genomes: the first to be evaluated, in this order.
    """

    optimiser: Optimiser
    genomes: Sequence[Any]

    @property
    def uses_fidelity(self) -> bool:  # type: ignore[override]
        return self.optimiser.uses_fidelity

    def check(self, evaluations: int, objectives: int = 1) -> None:
        self.optimiser.check(evaluations, objectives)

    def begin(self, space: Space[G], generator: torch.Generator, start: Sequence[Row[G]] = ()) -> Starting[G]:
        return Starting(self, space, generator, start)


class Starting(Asking[G]):
    """First the genomes, then the other optimiser with their rows as its start."""

    def __init__(self, settings: Started, space: Space[G], generator: torch.Generator, start: Sequence[Row[G]]) -> None:
        self._settings, self._space, self._generator = settings, space, generator
        self._rows, self._left, self._objectives = list(start), list(settings.genomes), 1
        self._inner: Asking[G] | None = None
        self._costs: Callable[[G], Sequence[float]] | None = None

    def expect(self, objectives: int) -> None:
        self._objectives = objectives

    def priced(self, costs: Callable[[G], Sequence[float]]) -> None:
        self._costs = costs

    def remark(self) -> str:
        return self._inner.remark() if self._inner else ""

    def ask(self, n: int) -> list[Proposal[G]]:
        given, self._left = self._left[:n], self._left[n:]
        asked: list[Proposal[G]] = [Proposal(genome) for genome in given]
        if len(asked) < n:
            if self._inner is None:
                self._inner = self._settings.optimiser.begin(self._space, self._generator, self._rows)
                self._inner.expect(self._objectives)
                if self._costs:
                    self._inner.priced(self._costs)
            asked += self._inner.ask(n - len(asked))
        self._given = len(given)
        return asked

    def tell(self, rows: Sequence[Row[G]]) -> None:
        self._rows += rows[: self._given]
        if self._inner is not None and len(rows) > self._given:
            self._inner.tell(rows[self._given :])
