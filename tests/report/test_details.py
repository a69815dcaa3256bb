"""Details of the kept model: a table of classes with their confusions, or of outputs with their errors."""

from __future__ import annotations

from dataclasses import replace

import pytest
from finished import Balance

from dashfx.report.details import MOST, by_class, by_output, f1
from dashfx.task import ClassScores, OutputError
from dashfx.task.calibration import Calibration, Trust

FOUND = ClassScores(("cat", "dog"), (3, 2), (0.75, None), (1.0, 0.0), ((3, 0), (2, 0)), 0.25)


def test_classes_have_their_scores_and_confusions() -> None:
    page = Balance(by_class(FOUND))
    assert not page.open
    for words in ("cat", "0.750", "0.857", "none", "Confusion matrix", "error 0.250"):
        assert words in page.text, words


def test_many_classes_name_their_worst_confusions() -> None:
    n = MOST + 1
    confusion = tuple(tuple(7 if (i, j) == (0, 1) else int(i == j) for j in range(n)) for i in range(n))
    names = tuple(f"c{i}" for i in range(n))
    text = Balance(by_class(ClassScores(names, (1,) * n, (1.0,) * n, (1.0,) * n, confusion, 0.0))).text
    assert "c0 taken for c1" in text and "Confusion matrix" not in text and "c1 taken for c0" not in text


def test_outputs_have_their_errors() -> None:
    text = Balance(by_output([OutputError("flux", 0.5, 12.5, 20.0)])).text
    assert "flux" in text and "0.500" in text and "12.5" in text
    assert by_output([]) == "" and by_class(None) == ""


@pytest.mark.parametrize(("precision", "recall", "expected"), [(0.5, 1.0, 2 / 3), (None, 0.0, 0.0), (None, None, None)])
def test_f1(precision: float | None, recall: float | None, expected: float | None) -> None:
    assert f1(precision, recall) == (None if expected is None else pytest.approx(expected))


def test_how_far_probabilities_can_be_trusted() -> None:
    told = Trust(1.7, Calibration(0.12, 0.11, 0.9, 0.4), Calibration(0.02, 0.03, 0.7, 0.35))
    page = Balance(by_class(replace(FOUND, trust=told))).text
    assert "Calibration" in page and "0.1200" in page and "at temperature 1.7" in page and "0.7000" in page
