"""Channel units by union-find: channels of several tensors that stay or leave together, and those that must stay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Labels = tuple[int, ...]


@dataclass(frozen=True)
class Carried:
    """What is known of a tensor: the labels of the places along one axis; a tensor without has fixed sizes."""

    axis: int
    labels: Labels


class Units:
    """Labels, joined to units. A pinned unit stays, and says why."""

    def __init__(self) -> None:
        self._parent: list[int] = []
        self._why: dict[int, str] = {}

    def fresh(self, count: int, pinned: str = "") -> Labels:
        """So many labels that no tensor has yet."""
        labels = tuple(range(len(self._parent), len(self._parent) + count))
        self._parent.extend(labels)
        if pinned:
            self._why.update(dict.fromkeys(labels, pinned))
        return labels

    def find(self, label: int) -> int:
        """The label that stands for its unit."""
        while self._parent[label] != label:
            self._parent[label] = label = self._parent[self._parent[label]]
        return label

    def join(self, a: Sequence[int], b: Sequence[int]) -> None:
        """Channel by channel, these stay or leave together."""
        for one, other in zip(a, b, strict=True):
            first, second = sorted((self.find(one), self.find(other)))
            self._parent[second] = first
            if (why := self._why.pop(second, "")) and first not in self._why:
                self._why[first] = why

    def join_repeated(self, labels: Sequence[int], parts: int) -> None:
        """Equal parts of an axis keep the same places."""
        length = len(labels) // parts
        for part in range(1, parts):
            self.join(labels[:length], labels[part * length : (part + 1) * length])

    def pin(self, labels: Sequence[int], why: str) -> None:
        """These channels stay."""
        for label in labels:
            self._why.setdefault(self.find(label), why)

    def why(self, label: int) -> str:
        """Why the unit of a label stays; empty where it may leave."""
        return self._why.get(self.find(label), "")
