"""Partial order pruning: genomes that cannot be better, if larger choices are never worth less, are not evaluated.

After Li, Zhou, Pan, Feng, "Partial Order Pruning: for Best Speed/Accuracy Trade-off in Neural Architecture Search",
CVPR 2019.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any, ClassVar

import torch

from dashfx.blackbox.base import Asking, Optimiser, Proposal, Row
from dashfx.blackbox.genomes import G, Space, Within
from dashfx.blackbox.objectives import dominates
from dashfx.plugins import find

TRIES = 200  # draws until one may be better; where the space is used up one that cannot is let through
COUNTED = 300  # rows whose pairs are held against the order


@dataclass(frozen=True)
class PartialOrder(Optimiser):
    """Another optimiser, without draws and mutations that cannot be better if larger kernels are never worse.

    A conv's choice is smaller than another one of its family where the other has all its taps. If x is smaller than y
    at every conv, x is worth at most what y is: so x is left out once another genome is known that costs no more than x
    and is worth no less than y. Costs are those of the objectives; without any, x is left out where y is worth less
    than the best.
    """

    optimiser: Any = "evolution"

    paper: ClassVar[str] = "Li et al., Partial Order Pruning: for Best Speed/Accuracy Trade-off in NAS, CVPR 2019"
    row: ClassVar[str] = "63"

    def __post_init__(self) -> None:
        object.__setattr__(self, "optimiser", find("optimiser", self.optimiser))

    @property
    def uses_fidelity(self) -> bool:  # type: ignore[override]
        return bool(self.optimiser.uses_fidelity)

    def check(self, evaluations: int, objectives: int = 1) -> None:
        self.optimiser.check(evaluations, objectives)

    def begin(self, space: Space[G], generator: torch.Generator, start: Sequence[Row[G]] = ()) -> Pruning[G]:
        open_ = Unbeaten(space)
        open_.learn(start)
        return Pruning(self.optimiser.begin(open_, generator, start), open_)


class Pruning(Asking[G]):
    """The other optimiser, whose space hears what rows say of genomes that are not evaluated."""

    def __init__(self, inner: Asking[G], space: Unbeaten[G]) -> None:
        self._inner, self._space = inner, space

    def expect(self, objectives: int) -> None:
        self._space.objectives = objectives
        self._inner.expect(objectives)

    def priced(self, costs: Callable[[G], Sequence[float]]) -> None:
        self._space.costs = costs
        self._inner.priced(costs)

    def ask(self, n: int) -> list[Proposal[G]]:
        return self._inner.ask(n)

    def tell(self, rows: Sequence[Row[G]]) -> None:
        self._space.learn(rows)
        self._inner.tell(rows)

    def remark(self) -> str:
        pairs, against = self._space.violations()
        left_out = len(self._space.left_out)
        said = f"partial-order: {left_out} genotypes were left out, as they cannot be better if larger is never worse"
        return f"{said}; of {pairs} pairs in order that were evaluated {against} go against that" if left_out else ""


class Unbeaten(Within[G]):
    """A space without genomes that cannot be better, as far as evaluated ones tell.

    Attributes:
        objectives: how many rows have.
        costs: of a genome, in the objectives beside the first; they are known without an evaluation.
        left_out: what was drawn and not let through.
    """

    def __init__(self, inner: Space[G]) -> None:
        super().__init__(inner)
        self._rows = dict[G, Row[G]]()
        self.objectives, self.left_out = 1, set[G]()
        self.costs: Callable[[G], Sequence[float]] = lambda _: ()

    def learn(self, rows: Sequence[Row[G]]) -> None:
        """Whole evaluations that gave a number; one that diverged says nothing of smaller genomes."""
        self._rows |= {row.genome: row for row in rows if row.fidelity == 1 and math.isfinite(row.fitness)}

    def beaten(self, genome: G) -> bool:
        """Whether a genome that is evaluated dominates the most that this one can be; more rows never undo it."""
        if genome in self.left_out:
            return True
        larger = [row.fitness for other, row in self._rows.items() if self._inner.below(genome, other)]
        point = (min(larger, default=math.inf), *(-cost for cost in self.costs(genome)))
        if not larger or len(point) != self.objectives:
            return False
        return any(len(row.point) == len(point) and dominates(row.point, point) for row in self._rows.values())

    def violations(self) -> tuple[int, int]:
        """Pairs of evaluated genomes of which one is smaller, and in how many of them it is worth more."""
        rows = list(self._rows.values())[-COUNTED:]
        pairs = [(a, b) for a, b in permutations(rows, 2) if self._inner.below(a.genome, b.genome)]
        return len(pairs), sum(a.fitness > b.fitness for a, b in pairs)

    def sample(self, generator: torch.Generator) -> G:
        return self._drawn(lambda: self._inner.sample(generator))

    def mutate(self, genome: G, generator: torch.Generator) -> G:
        return self._drawn(lambda: self._inner.mutate(genome, generator))

    def _drawn(self, draw: Callable[[], G]) -> G:
        for _ in range(TRIES):
            genome = draw()
            if not self.beaten(genome):
                break
            self.left_out.add(genome)
        return genome
