"""Monte-Carlo tree search: position after position is decided by UCB1 as far as the tree is known, then at random.

Negrinho and Gordon, "DeepArchitect: Automatically Designing and Training Deep Architectures", 2017.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, NamedTuple

import torch
from pydantic import Field

from dashfx.blackbox.base import Asking, Optimiser, Proposal, Row
from dashfx.blackbox.genomes import G, Space
from dashfx.blackbox.surrogates.base import drawn
from dashfx.blackbox.trees.bounds import Scale, largest, ucb1

TRIES = 20  # walks until one ends at a genome that is new


@dataclass(frozen=True)
class TreeSearch(Optimiser):
    """UCB1 from the root, a new branch at random, the rest at random; what is found counts for all branches above.

    Args:
        c: weight of the bound's width, for fitness as a share of the range seen.
        bisect: options are reached by halves, not one by one: neighbours, such as sizes, have branches in common (the
            paper's restructured tree).
    """

    c: Annotated[float, Field(ge=0)] = 0.1
    bisect: bool = True

    paper: ClassVar[str] = "Negrinho and Gordon, DeepArchitect, 2017"
    row: ClassVar[str] = "54"

    def begin(self, space: Space[G], generator: torch.Generator, start: Sequence[Row[G]] = ()) -> Walking[G]:
        return Walking(self, space, generator, start)


class State(NamedTuple):
    """A place in the tree: what is decided, and the options [low, high) that are left at the next position."""

    decided: tuple[int, ...]
    low: int
    high: int


@dataclass
class Branch:
    """How often it was taken, and the sum of what was found below it by those that have ended."""

    visits: int = 0
    ended: int = 0
    total: float = 0.0


@dataclass
class Walking(Asking[G]):
    """The tree; rows of `start` are walks that have ended.

    Attributes:
        tree: state -> its branch, the root's included.
    """

    settings: TreeSearch
    space: Space[G]
    generator: torch.Generator
    start: Sequence[Row[G]]
    tree: dict[State, Branch] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._levels, self._scale = self.space.levels(), Scale()
        self._asked: list[list[State]] = []
        self._seen: set[Any] = set()
        for row in self.start:
            self._take(self._path(self.space.places(row.genome)))
            self._seen.add(row.genome)
        self.tell(self.start)

    def ask(self, n: int) -> list[Proposal[G]]:
        return [Proposal(self._walk()) for _ in range(n)]

    def tell(self, rows: Sequence[Row[G]]) -> None:
        for path, row in zip(self._asked, rows, strict=True):
            fitness = self._scale.see(row.fitness)
            for state in path:
                branch = self.tree[state]
                branch.ended, branch.total = branch.ended + 1, branch.total + fitness
        self._asked = []

    def children(self, state: State) -> list[State]:
        """The branches of a place; none of a whole genome."""
        decided, low, high = state
        if high - low > 2 and self.settings.bisect:
            middle = (low + high) // 2
            halves = (low, middle), (middle, high)
            return [State(decided, a, b) if b - a > 1 else self._below(decided, a) for a, b in halves]
        return [self._below(decided, option) for option in range(low, high)]

    def _below(self, decided: tuple[int, ...], option: int) -> State:
        """The place where a position is decided."""
        return State((*decided, option), 0, (*self._levels, 0)[len(decided) + 1])

    def _walk(self) -> G:
        """A new genome; a random one where the walks, which the bound may send the same way, end at known ones."""
        for _ in range(TRIES):
            path = self._down()
            genome = self.space.at(path[-1].decided)
            if genome not in self._seen:
                break
        else:
            genome = drawn(self.space, self.generator, self._seen)
            path = self._path(self.space.places(genome))
        self._seen.add(genome)
        self._take(path)
        return genome

    def _down(self) -> list[State]:
        """From the root to a whole genome."""
        path = [State((), 0, self._levels[0])]
        while below := self.children(path[-1]):
            draw = float(torch.rand((), generator=self.generator, dtype=torch.float64))
            path.append(below[largest([self._bound(each, path[-1]) for each in below], draw)])
        return path

    def _bound(self, state: State, above: State) -> float:
        branch, whole = self.tree.get(state, Branch()), self.tree.get(above, Branch())
        mean = self._scale.share(branch.total / branch.ended) if branch.ended else 0.5  # asked for, and not told yet
        return ucb1(mean, branch.visits, whole.visits, self.settings.c)

    def _take(self, path: list[State]) -> None:
        """Count a walk on all its branches."""
        self._asked.append(path)
        for state in path:
            self.tree.setdefault(state, Branch()).visits += 1

    def _path(self, places: Sequence[int]) -> list[State]:
        """The walk to a genome."""
        path = [State((), 0, self._levels[0])]
        while below := self.children(path[-1]):
            path.append(next(each for each in below if self._leads(each, places)))
        return path

    def _leads(self, state: State, places: Sequence[int]) -> bool:
        known = len(state.decided)
        within = known == len(places) or state.low <= places[known] < state.high
        return within and state.decided == tuple(places[:known])
