"""Lineages: donors, generations and lives as counted by hand."""

from __future__ import annotations

from dashfx.blackbox.base import Row
from dashfx.blackbox.lineage import Lineage

PARENTS = [None, None, 0, 0, 2, 1, 4, 0]
ROWS = [Row(i, i, 0.0, 0.0, parent, 0.0) for i, parent in enumerate(PARENTS)]


def test_counts_are_those_by_hand() -> None:
    found = Lineage.of(ROWS)
    assert found.donors == {0: 3, 2: 1, 1: 1, 4: 1}
    assert found.depths == {0: 0, 1: 0, 2: 1, 3: 1, 4: 2, 5: 1, 6: 3, 7: 1}
    assert found.lives == {0: 7, 2: 2, 1: 4, 4: 2}
    assert "6 were made from 4 of the others; evaluation 1 was the parent of 3, over 7" in found.sentence
    assert "longest line of descent has 3 generations" in found.sentence


def test_without_children_there_is_nothing_to_say() -> None:
    assert Lineage.of(ROWS[:2]).sentence == Lineage.of([]).sentence == ""
    assert Lineage.of([Row(0, 0, 0.0, 0.0, 5, 0.0)]).depths == {0: 0}  # of an earlier search
