"""Details of the model that is handed back, on the test part: class by class, or output by output."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dashfx.drawing.html import Html, section, table, tag
from dashfx.task import ClassScores, OutputError
from dashfx.task.calibration import Trust

MOST = 20  # classes whose confusions are shown as a matrix


def by_class(found: ClassScores | None) -> Html:
    """Precision, recall and F1 of each class, the confusion matrix, and the calibration error."""
    if found is None:
        return Html("")
    rows = [
        (name, count, share(precision), share(recall), share(f1(precision, recall)))
        for name, count, precision, recall in zip(found.names, found.counts, found.precision, found.recall, strict=True)
    ]
    text = (
        f"On the test part. Expected calibration error {found.calibration:.3f}: how far, on average, the largest "
        "probability is from the share of answers that are right (15 bins; 0 is best)."
    )
    scores = tag("div", table(rows, ("class", "rows", "precision", "recall", "F1")), class_="numbers")
    return section("Class by class", tag("p", text, class_="soft"), scores, *_trust(found.trust), *_confusion(found))


def _trust(found: Trust | None) -> list[Html]:
    if found is None:
        return []
    text = (
        f"How far probabilities can be trusted: as they are, and with scores divided by {found.temperature:.3g}, the "
        "temperature that suits the validation part best. Smaller is better in all columns."
    )
    head = ("probabilities", "calibration error", "class by class", "NLL", "Brier score")
    rows = [
        (name, *(f"{value:.4f}" for value in (each.error, each.by_class, each.nll, each.brier)))
        for name, each in (("as they are", found.plain), (f"at temperature {found.temperature:.3g}", found.scaled))
    ]
    return [tag("h3", "Calibration"), tag("p", text, class_="soft"), tag("div", table(rows, head), class_="numbers")]


def _confusion(found: ClassScores) -> list[Html]:
    if len(found.names) > MOST:
        pairs = [(n, i, j) for i, row in enumerate(found.confusion) for j, n in enumerate(row) if i != j and n]
        worst = sorted(pairs, reverse=True)[:MOST]
        rows = [(f"{found.names[i]} taken for {found.names[j]}", n) for n, i, j in worst]
        return [tag("h3", "Most frequent confusions"), table(rows, ("confusion", "rows"))] if rows else []
    head = ("truth \\ answer", *found.names)
    matrix = [(name, *row) for name, row in zip(found.names, found.confusion, strict=True)]
    return [tag("h3", "Confusion matrix"), tag("div", table(matrix, head), class_="matrix")]


def by_output(found: Sequence[OutputError]) -> Html:
    """R2 and errors of each output of a regression model, in the data's units."""
    if not found:
        return Html("")
    rows = [(each.name, share(each.r2), f"{each.mae:.4g}", f"{each.rmse:.4g}") for each in found]
    text = "On the test part, in the data's units. R2 is 1 - squared error / variance; 0 is the mean's."
    head = ("output", "R2", "mean absolute error", "root mean squared error")
    return section("Output by output", tag("p", text, class_="soft"), tag("div", table(rows, head), class_="numbers"))


def f1(precision: float | None, recall: float | None) -> float | None:
    """Their harmonic mean; 0 where nothing of the class is right, None where there is none of it."""
    if recall is None:
        return None
    return 2 * precision * recall / (precision + recall) if precision and recall else 0.0


def share(value: float | None) -> str:
    return "none" if value is None or math.isnan(value) else f"{value:.3f}"
