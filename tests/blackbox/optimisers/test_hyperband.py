"""BOHB: the published brackets, who rises, what draws, and how many evaluations a bracket needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch

from dashfx.blackbox.base import Proposal, Row, best_of, optimise
from dashfx.blackbox.genomes import Positions
from dashfx.blackbox.optimisers import hyperband
from dashfx.blackbox.optimisers.hyperband import Bohb, brackets
from dashfx.errors import ConfigError

SPACE = Positions((5,) * 4)


def total(genomes: Sequence[Any], fidelity: float = 1.0) -> list[float]:
    return [fidelity * sum(genome) for genome in genomes]


def rows_of(optimiser: Bohb, n: int, evaluate: Any = total, **more: Any) -> list[Row[Any]]:
    return optimise(optimiser.begin(SPACE, torch.Generator().manual_seed(0)), evaluate, n, maximise=True, **more)


def test_brackets_are_the_published_ones() -> None:
    """Li et al., Hyperband, JMLR 2018, table 1: eta 3, R 81."""
    counts = [[count for count, _ in bracket] for bracket in brackets(3, 1 / 81)]
    assert counts == [[81, 27, 9, 3, 1], [34, 11, 3, 1], [15, 5, 1], [8, 2], [5]]
    lengths = [[round(81 * fidelity, 9) for _, fidelity in bracket] for bracket in brackets(3, 1 / 81)]
    assert lengths == [[1, 3, 9, 27, 81], [3, 9, 27, 81], [9, 27, 81], [27, 81], [81]]
    assert brackets(2, 0.3) == [[(2, 0.5), (1, 1.0)], [(2, 1.0)]]  # nothing shorter than asked for


def test_the_fittest_of_a_rung_go_on_to_a_longer_evaluation() -> None:
    rows = rows_of(Bohb(), 13)
    assert [round(9 * row.fidelity) for row in rows] == [1] * 9 + [3] * 3 + [9]
    best = sorted(rows[:9], key=lambda row: (-row.fitness, row.number))[:3]
    assert [row.genome for row in rows[9:12]] == [row.genome for row in best]
    assert [row.parent for row in rows[9:12]] == [row.number for row in best]
    assert rows[12].genome == best[0].genome and best_of(rows) == rows[12]


def test_a_bracket_opens_early_where_the_others_wait() -> None:
    rows = rows_of(Bohb(), 22, together=11)
    assert [round(9 * row.fidelity) for row in rows[:11]] == [1] * 9 + [3] * 2
    assert [round(9 * row.fidelity) for row in rows[11:]] == [3] * 3 + [3] * 3 + [9] * 3 + [1] * 2


def test_a_model_hears_the_longest_evaluations_of_which_there_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[list[Row[Any]]] = []

    class Model:
        def begin(self, space: Any, generator: Any, rows: Any) -> Any:
            heard.append(rows)
            return type("Drawing", (), {"ask": lambda self, n: [Proposal((0, 1, 2, 3))]})()

    monkeypatch.setattr(hyperband, "Tpe", Model)
    rows = rows_of(Bohb(random=0.0), 40)
    assert {len({row.fidelity for row in known}) for known in heard} == {1}
    assert all(len(known) > 4 for known in heard)
    assert round(9 * heard[0][0].fidelity) == 1
    assert round(9 * heard[-1][0].fidelity) == 9
    assert rows[5].genome == (0, 1, 2, 3) != rows[4].genome  # five are one more than there are positions
    heard.clear()
    rows_of(Bohb(random=1.0), 40)
    assert not heard


def test_what_cannot_work_is_one_line() -> None:
    Bohb().check(13)
    with pytest.raises(ConfigError, match=r"its first bracket has 13 evaluations, .* there are 12 in all"):
        Bohb().check(12)
    with pytest.raises(ConfigError, match="bohb with eta=1"):
        Bohb(eta=1)
    with pytest.raises(ConfigError, match="smallest=1"):
        Bohb(smallest=1)
