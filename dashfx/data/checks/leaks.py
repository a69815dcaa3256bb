"""Leaks: which pairs of the three parts share rows or groups, and how many."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from itertools import combinations

import numpy as np

from dashfx.data.base import Arrays, pieces
from dashfx.data.parts import PARTS
from dashfx.errors import DataError

MARK = "leak: "  # how a note on a leak begins


@dataclass(frozen=True)
class Leak:
    """Rows of `part` whose x is, byte for byte, that of a row of `earlier`; or groups that have rows in both.

    Attributes:
        rows: how many, of `of`.
        first: the first of the rows, by its number in the part.
        what: "rows" or "groups".
    """

    part: str
    earlier: str
    rows: int
    of: int
    first: int = 0
    what: str = "rows"

    @property
    def whole(self) -> bool:
        """Whether nothing in the part is new."""
        return self.what == "rows" and self.rows == self.of

    def __str__(self) -> str:
        where = f" (first: row {self.first})" if self.what == "rows" and not self.whole else ""
        tells = ", so it tells nothing about new rows" if self.whole else ""
        return (
            f"{MARK}{self.rows} of {self.of} {self.what} of {self.part} are also in {self.earlier}{where}{tells}; "
            "remove them from one of the two"
        )


def leaks(parts: dict[str, Arrays], prints: dict[str, np.ndarray] | None = None) -> list[Leak]:
    """Those between each two parts. Every row is read once, or not at all where its `prints` are known."""
    found = []
    prints = prints or {part: fingerprints(parts[part]) for part in PARTS}
    for one, other in combinations(PARTS, 2):
        again = np.isin(prints[other], prints[one])
        if again.any():
            found.append(Leak(other, one, int(again.sum()), len(again), int(again.argmax())))
        ours, theirs = parts[one].groups, parts[other].groups
        if ours is not None and theirs is not None and (shared := np.intersect1d(ours, theirs)).size:
            found.append(Leak(other, one, len(shared), len(np.unique(theirs)), what="groups"))
    return found


def check_leaks(found: list[Leak], name: str) -> None:
    """Refuse data of which one part holds nothing but rows of another.

    Raises:
        DataError: such a part.
    """
    for leak in found:
        if leak.whole:
            raise DataError(
                f"{name}: all {leak.of} rows of {leak.part} are also in {leak.earlier}, so it tells nothing about new "
                f"rows; give other ones, or leave {leak.part} away to have it carved out of train"
            )


def fingerprints(arrays: Arrays) -> np.ndarray:
    """(N,) uint64: a hash of each row's x, as it lies in the file."""
    prints = np.empty(len(arrays), np.uint64)
    for piece in pieces(len(arrays), arrays.x.shape[1:]):
        rows = np.ascontiguousarray(arrays.x[arrays.index[piece]])
        for row, values in enumerate(rows, piece.start):
            prints[row] = int.from_bytes(blake2b(values.tobytes(), digest_size=8).digest(), "little")
    return prints
