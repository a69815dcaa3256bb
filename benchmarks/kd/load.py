"""A table of trained genotypes, as `benchmarks.kd.train` writes it, goes in; its rows come out.

A search needs no loader: `dashfx search ... --strategy evolution --evaluator benchmarks/kd/swedishleaf.json` takes the
file itself (`dashfx.blackbox.genotype_table`), and proposes the genotypes that it holds.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dashfx import Genotype
from dashfx.blackbox.genotype_table import read_choice


@dataclass(frozen=True)
class Trained:
    """One training of one genotype.

    Attributes:
        draw: "untouched", "three", "uniform" or "scaled", see `benchmarks.kd.train.drawn`; "all" where all are there.
        flops: of one row; a multiplication and an addition count two.
        latency: milliseconds of a batch of 16; nan where it was not measured.
        valid, test: accuracy after the last epoch.
        curve: training loss, validation metric and validation loss after each epoch, where they were kept.
    """

    id: int
    draw: str
    seed: int
    genotype: Genotype
    params: int
    flops: int
    valid: float
    test: float
    train_loss: float
    epochs: int
    seconds: float
    latency: float = float("nan")
    curve: Sequence[Sequence[float]] = ()


def load(path: Path) -> list[Trained]:
    """The rows in the order of training."""
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    return [Trained(**{**row, "genotype": genotype_of(row["genotype"])}) for row in rows]


def genotype_of(choices: dict[str, str]) -> Genotype:
    """Site -> "kernel,dilation" as a genotype."""
    return Genotype({name: read_choice(text) for name, text in choices.items()})


def first_seed(rows: Sequence[Trained]) -> list[Trained]:
    """One row a genotype, by its number."""
    return sorted((row for row in rows if row.seed == 0), key=lambda row: row.id)


def between_seeds(rows: Sequence[Trained]) -> list[tuple[Trained, Trained]]:
    """The genotypes that were trained twice."""
    again = {row.id: row for row in rows if row.seed}
    return [(row, again[row.id]) for row in first_seed(rows) if row.id in again]
