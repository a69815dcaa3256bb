"""LaNAS: a tree of linear models divides the genomes into better and worse halves, and a bound says which part to draw.

Wang, Xie, Li, Fonseca and Tian, "Sample-Efficient Neural Architecture Search by Learning Action Space", 2019.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from pydantic import Field

from dashfx.blackbox.base import Asking, Optimiser, Proposal, Row
from dashfx.blackbox.genomes import G, Space
from dashfx.blackbox.surrogates.base import FEWEST, check_enough, drawn
from dashfx.blackbox.trees.bounds import Scale, ucb1
from dashfx.plugins import Count

PENALTY = 1.0  # of the linear models, for features of 0 and 1
DRAWS = 400  # genomes of which one may lie in the part that is wanted


@dataclass(frozen=True)
class LatentActions(Optimiser):
    """After `start` random genomes: each node halves its rows at the mean that a linear model of them expects.

    From the root the half with the larger UCB1 is gone down; what is drawn lies on the same side of every split. The
    tree is learned anew for every genome that is asked for.

    Args:
        depth: how often the rows are halved, as far as a half has `leaf` of them.
        c: weight of the bound's width, for fitness as a share of the range seen.
    """

    start: Count = 15
    depth: Count = 3
    leaf: Count = 4
    c: Annotated[float, Field(ge=0)] = 0.1

    paper: ClassVar[str] = "Wang et al., Sample-Efficient Neural Architecture Search by Learning Action Space, 2019"
    row: ClassVar[str] = "117"

    def check(self, evaluations: int, objectives: int = 1) -> None:
        check_enough("lanas", "start", self.start, evaluations)

    def begin(self, space: Space[G], generator: torch.Generator, start: Sequence[Row[G]] = ()) -> Dividing[G]:
        return Dividing(self, space, generator, start)


@dataclass
class Node:
    """Rows of a part of the space, and where it is divided.

    Attributes:
        rows: their places among all.
        weights, limit: x @ weights > limit is the better half; None at a leaf.
        halves: the better one, the worse one.
    """

    rows: np.ndarray
    weights: np.ndarray | None = None
    limit: float = 0.0
    halves: list[Node] = field(default_factory=list)


class Dividing(Asking[G]):
    """The rows so far; those of `start` count as random genomes."""

    def __init__(
        self, settings: LatentActions, space: Space[G], generator: torch.Generator, start: Sequence[Row[G]]
    ) -> None:
        self._settings, self._space, self._generator = settings, space, generator
        self._rows = [row for row in start if row.value is not None]
        self._seen: set[Any] = {row.genome for row in start}
        self._asked = len(start)

    def ask(self, n: int) -> list[Proposal[G]]:
        return [self._propose() for _ in range(n)]

    def tell(self, rows: Sequence[Row[G]]) -> None:
        self._rows += [row for row in rows if row.value is not None]

    def _propose(self) -> Proposal[G]:
        self._asked += 1
        known = self._asked > self._settings.start and len(self._rows) >= FEWEST
        genome = self._inside() if known else drawn(self._space, self._generator, self._seen)
        self._seen.add(genome)
        return Proposal(genome)

    def _inside(self) -> G:
        """A new genome of the part that is gone down to; the one that holds most of its splits where none is found."""
        x = np.array([self._space.one_hot(row.genome) for row in self._rows])
        y, scale = np.array([row.fitness for row in self._rows]), Scale()
        shares = np.array([scale.share(each) for each in [scale.see(value) for value in y]])
        splits = gone_down(divided(x, y, self._settings), shares, self._settings.c)
        best, held = drawn(self._space, self._generator, self._seen), -1
        for _ in range(DRAWS):
            genome = self._space.sample(self._generator)
            code = self._space.one_hot(genome)
            holds = sum((code @ node.weights > node.limit) == better for node, better in splits)
            if genome not in self._seen and holds > held:
                best, held = genome, holds
                if held == len(splits):
                    break
        return best


def divided(x: np.ndarray, y: np.ndarray, settings: LatentActions) -> Node:
    """The tree over rows of codes (n, n_features) and fitness (n,)."""

    def below(rows: np.ndarray, depth: int) -> Node:
        node = Node(rows)
        if not depth or len(rows) < 2 * settings.leaf:
            return node
        weights, offset = linear(x[rows], y[rows])
        better = x[rows] @ weights > y[rows].mean() - offset
        if min(better.sum(), (~better).sum()) < settings.leaf:
            return node
        node.weights, node.limit = weights, float(y[rows].mean() - offset)
        node.halves = [below(rows[better], depth - 1), below(rows[~better], depth - 1)]
        return node

    return below(np.arange(len(y)), settings.depth)


def linear(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, float]:
    """Weights and offset of ridge regression."""
    centre = x.mean(0)
    rest = x - centre
    weights = np.linalg.solve(rest.T @ rest + PENALTY * np.eye(x.shape[1]), rest.T @ (y - y.mean()))
    return weights, float(y.mean() - centre @ weights)


def gone_down(root: Node, shares: np.ndarray, c: float) -> list[tuple[Node, bool]]:
    """The nodes from the root to a leaf by UCB1, each with whether its better half was taken."""
    node, taken = root, list[tuple[Node, bool]]()
    while node.halves:
        bounds = [ucb1(float(shares[half.rows].mean()), len(half.rows), len(node.rows), c) for half in node.halves]
        better = bounds[0] >= bounds[1]
        taken.append((node, better))
        node = node.halves[0 if better else 1]
    return taken
