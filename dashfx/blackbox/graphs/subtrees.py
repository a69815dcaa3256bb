"""Weisfeiler-Lehman features: how often each label stands in a graph, with its inputs, with their inputs, and so on.

Shervashidze et al., "Weisfeiler-Lehman Graph Kernels", JMLR 2011, on edges from producer to consumer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from dashfx.blackbox.genomes import Graph

Motif = tuple[int, str]  # how deep it looks, and the label with those of its inputs in brackets


def motifs(graph: Graph, depth: int) -> Counter[Motif]:
    """How often each motif stands in the graph.

    >>> motifs(Graph(("a", "b"), ((0, 1),)), 1)
    Counter({(0, 'a'): 1, (0, 'b'): 1, (1, 'a()'): 1, (1, 'b(a)'): 1})
    """
    labels, found = list(graph.labels), Counter[Motif]((0, label) for label in graph.labels)
    inputs = [[a for a, b in graph.edges if b == node] for node in range(len(labels))]
    for level in range(1, depth + 1):
        labels = [f"{own}({','.join(sorted(labels[i] for i in inputs[n]))})" for n, own in enumerate(graph.labels)]
        found.update((level, label) for label in labels)
    return found


class Vocabulary:
    """Counts as arrays, a column a motif, by depth; motifs that none of the first graphs has are left out.

    Attributes:
        motifs: of each column.
    """

    def __init__(self, counts: Sequence[Mapping[Motif, int]]) -> None:
        self.motifs = sorted({motif for each in counts for motif in each})
        self._places = {motif: place for place, motif in enumerate(self.motifs)}

    def __call__(self, counts: Mapping[Motif, int]) -> np.ndarray:
        """(n_motifs,)."""
        row = np.zeros(len(self.motifs))
        for motif, count in counts.items():
            if (place := self._places.get(motif)) is not None:
                row[place] = count
        return row

    def up_to(self, depth: int) -> int:
        """The number of columns of motifs that look no deeper."""
        return sum(level <= depth for level, _ in self.motifs)
