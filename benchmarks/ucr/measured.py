"""Figures of each procedure on each set and seed, as a CSV: what the tables are made of, without the trainings."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from benchmarks.ucr.procedures import PROCEDURES, Scores, outcomes
from benchmarks.ucr.rows import Rows

DIGITS = 5


@dataclass(frozen=True)
class Figures:
    """Of what a procedure hands back.

    Attributes:
        accuracy: on the test part.
        cost: of all that it trains, in trainings of the untouched model.
        parameters, macs: over the untouched model's.
    """

    accuracy: float
    cost: float
    parameters: float
    macs: float


Measured = Mapping[str, Mapping[tuple[str, int], Figures]]  # procedure -> (set, seed) -> figures
COLUMNS = ("procedure", "set", "seed", *(field.name for field in fields(Figures)))


def measured(rows: Rows, scores: Scores) -> Measured:
    """Of all procedures whose trainings are there."""
    found = {name: outcomes(procedure, rows) for name, procedure in PROCEDURES.items()}
    return {
        name: {
            key: Figures(
                scores.accuracy(outcome),
                scores.cost(outcome),
                scores.size(outcome, "parameters"),
                scores.size(outcome, "macs"),
            )
            for key, outcome in each.items()
        }
        for name, each in found.items()
        if each
    }


def accuracies(of: Measured) -> dict[str, dict[tuple[str, int], float]]:
    return {name: {key: figures.accuracy for key, figures in each.items()} for name, each in of.items()}


def write(path: Path, of: Measured) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow(COLUMNS)
        for name, each in of.items():
            for (where, seed), figures in each.items():
                lines.writerow([name, where, seed, *(round(value, DIGITS) for value in asdict(figures).values())])


def read(path: Path) -> Measured:
    found: dict[str, dict[tuple[str, int], Figures]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file):
            figures = Figures(**{field.name: float(line[field.name]) for field in fields(Figures)})
            found.setdefault(line["procedure"], {})[line["set"], int(line["seed"])] = figures
    return found
