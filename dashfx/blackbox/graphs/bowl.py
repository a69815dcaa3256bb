"""NAS-BOWL: Bayesian optimisation with a Gaussian process on how often each motif stands in a network.

Ru, Wan, Dong and Osborne, "Interpretable Neural Architecture Search via Bayesian Optimisation with Weisfeiler-Lehman
Kernels", ICLR 2021.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from dashfx.blackbox.base import Row
from dashfx.blackbox.genomes import G, Space
from dashfx.blackbox.graphs.linear_process import LinearProcess
from dashfx.blackbox.graphs.subtrees import Motif, Vocabulary, motifs
from dashfx.blackbox.predictors.base import Fitted, Predicted
from dashfx.blackbox.surrogates.surrogate import ByLearning, Learned
from dashfx.plugins import Count


@dataclass(frozen=True)
class Bowl(ByLearning):
    """After `start` random genomes a Gaussian process on counts of motifs picks the `top` of a pool.

    Half of the pool is mutants. How deep motifs look, from 0 to `depth`, is what makes the rows likeliest. The graph is
    the one of `Space.graph`: of a network its decisions in their order, without what joins branches.

    Args:
        acquire: what is picked by: "mean", "ucb", "ei" or "thompson".
        pool: how many genomes are predicted each time.
        parents: how many of the best rows have mutants in the pool.
    """

    start: Count = 20
    top: Count = 5
    pool: Count = 100
    parents: Count = 5
    depth: Annotated[int, Field(ge=0)] = 2
    acquire: Literal["mean", "ucb", "ei", "thompson"] = "ei"

    name: ClassVar[str] = "bowl"
    paper: ClassVar[str] = "Ru et al., Interpretable NAS via BO with Weisfeiler-Lehman Kernels, ICLR 2021"
    row: ClassVar[str] = "40"

    def learn(self, space: Space[G], rows: Sequence[Row[G]], seed: int) -> Learned:
        vocabulary, fitted = learned(space, rows, self.depth)
        return Learned(lambda genome: vocabulary(motifs(space.graph(genome), self.depth)), fitted)


class Shallow(Fitted):
    """A process on the first columns of what it is given."""

    def __init__(self, process: LinearProcess, columns: int) -> None:
        self.process, self._columns = process, columns

    def predict(self, x: np.ndarray) -> Predicted:
        return self.process.predict(x[:, : self._columns])


def learned(space: Space[G], rows: Sequence[Row[G]], depth: int) -> tuple[Vocabulary, Shallow]:
    """The motifs of the rows' graphs, and the likeliest process on them, of those that look no deeper than `depth`."""
    counts = [motifs(space.graph(row.genome), depth) for row in rows]
    vocabulary = Vocabulary(counts)
    x, y = np.array([vocabulary(each) for each in counts]), np.array([row.fitness for row in rows])
    found = [(vocabulary.up_to(level), level) for level in range(depth + 1)]
    processes = [Shallow(LinearProcess(x[:, :columns], y), columns) for columns, _ in found]
    return vocabulary, max(processes, key=lambda each: each.process.evidence)


def best_motifs(space: Space[Any], rows: Sequence[Row[Any]], depth: int = 2) -> list[tuple[Motif, float]]:
    """What makes networks good: motifs with what one more of each adds to the fitness, most first.

    Args:
        rows: of a search, those without a value left out.
    """
    vocabulary, fitted = learned(space, [row for row in rows if row.value is not None], depth)
    pairs = zip(vocabulary.motifs, fitted.process.slopes.tolist(), strict=False)
    return sorted(pairs, key=lambda pair: -pair[1])
