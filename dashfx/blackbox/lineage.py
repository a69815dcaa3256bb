"""Lineage of a search: which rows had children, how many, and how long the lines of descent are.

Underwood, Madhastha, Burns and Nicolae, "Understanding Patterns of Deep Learning Model Evolution in Network
Architecture Search", 2023, trace who gives and for how long.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dashfx.blackbox.base import Row
from dashfx.blackbox.genomes import G


@dataclass(frozen=True)
class Lineage:
    """Who came from whom.

    Attributes:
        donors: number of a row -> how many children it had; rows without any are left out.
        depths: number of a row -> its generation; 0 for one that was drawn.
        lives: number of a donor -> how many evaluations after its own its last child was asked for.
    """

    donors: Mapping[int, int]
    depths: Mapping[int, int]
    lives: Mapping[int, int]

    @classmethod
    def of(cls, rows: Sequence[Row[G]]) -> Lineage:
        """The lineage of a search's rows, in their order; parents of an earlier search count as none."""
        donors: Counter[int] = Counter()
        depths: dict[int, int] = {}
        lives: dict[int, int] = {}
        for row in rows:
            known = row.parent is not None and row.parent in depths
            depths[row.number] = depths[row.parent] + 1 if known and row.parent is not None else 0
            if known and row.parent is not None:
                donors[row.parent] += 1
                lives[row.parent] = row.number - row.parent
        return cls(dict(donors), depths, lives)

    @property
    def sentence(self) -> str:
        """For a report; empty where nothing had children."""
        if not self.donors:
            return ""
        top, most = max(self.donors.items(), key=lambda pair: (pair[1], -pair[0]))
        return (
            f"{sum(self.donors.values())} were made from {len(self.donors)} of the others; evaluation {top + 1} was "
            f"the parent of {most}, over {self.lives[top]} evaluations. The longest line of descent has "
            f"{max(self.depths.values())} generations."
        )
