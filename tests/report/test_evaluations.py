"""The report's section on a black-box search: the best so far, the last population, equal genotypes once."""

from __future__ import annotations

import math
from typing import Any

import pytest

from dashfx import Candidate, Genotype
from dashfx.blackbox.base import Row
from dashfx.drawing.html import Html
from dashfx.report import evaluations as section


def row(number: int, kernel: int, value: float | None) -> Row[Genotype]:
    genotype = Genotype({"conv1": Candidate(kernel, 1), "conv2": Candidate(kernel, 1)})
    return Row(number, genotype, value, -math.inf if value is None else -value, None if number < 2 else 0, 1.0)


ROWS = [row(0, 3, 2.0), row(1, 5, None), row(2, 7, 1.0), row(3, 9, 4.0), row(4, 11, 3.0)]  # lower is better


def test_the_line_is_the_best_so_far_and_the_last_population_is_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Any] = []
    monkeypatch.setattr(section, "climb", lambda *given: drawn.append(given) or Html(""))
    page = section.evaluations(ROWS, "gennas", population=2)
    assert drawn == [([2.0, None, 1.0, 4.0, 3.0], [2.0, 2.0, 1.0, 1.0, 1.0], "gennas")]
    assert "Of the last population of 2, the best has 3." in page and "1 diverged" in page


def test_rows_stand_by_fitness_and_equal_genotypes_once() -> None:
    page = section.evaluations([*ROWS, row(5, 7, 1.0)], "gennas")
    assert "6 evaluations of 5 genotypes" in page and page.count("2 x k7 d1") == 1
    assert page.index("k7 d1") < page.index("k3 d1") < page.index("k11 d1") < page.index("k9 d1") < page.index("k5 d1")
    assert not section.evaluations([], "gennas")
