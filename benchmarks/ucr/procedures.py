"""Procedures of choosing, composed of finished trainings: what they train, what is handed back, what that costs.

A procedure looks at validation alone. It is a function of the trainings of one set and seed; its answer names rows, so
that accuracy and cost of any procedure come from the same stored trainings.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean

import numpy as np

from benchmarks.ucr.rows import Key, Row, Rows
from benchmarks.ucr.variants import LADDER, MULTI, RUNG

UNTOUCHED = "untouched"
Judge = Callable[[Row], float]  # of what is kept: larger is better


@dataclass(frozen=True)
class Outcome:
    """What a procedure has come to.

    Attributes:
        trained: the rows that it had to train.
        kept: those that are handed back; several are averaged.
    """

    trained: frozenset[Key]
    kept: tuple[Key, ...]


class Missing(Exception):
    """A training that a procedure needs is not there."""


@dataclass(frozen=True)
class Trainings:
    """The rows of one set and seed."""

    rows: Rows
    name: str
    seed: int

    def key(self, variant: str) -> Key:
        key = (self.name, self.seed, variant)
        if key not in self.rows:
            raise Missing(variant)
        return key

    def row(self, variant: str) -> Row:
        return self.rows.by_key[self.key(variant)]

    def there(self, variants: Sequence[str]) -> list[str]:
        return [variant for variant in variants if (self.name, self.seed, variant) in self.rows]

    def other_seeds(self) -> list[int]:
        """The other seeds of the untouched model on this set, those that follow first."""
        seeds = sorted(seed for name, seed, variant in self.rows.by_key if (name, variant) == (self.name, UNTOUCHED))
        at = seeds.index(self.seed)
        return seeds[at + 1 :] + seeds[:at]


Procedure = Callable[[Trainings], Outcome]


def by_last(row: Row) -> float:
    """The mean metric of the last three validations."""
    return float(row["valid"])


def by_best(row: Row) -> float:
    """The metric of the best epoch."""
    return float(row["best"])


def by_loss(row: Row) -> float:
    """The mean loss of the last three validations."""
    return -float(row["valid_loss"])


def alone(variant: str, of: Trainings) -> Outcome:
    return Outcome(frozenset([of.key(variant)]), (of.key(variant),))


def best_of(rivals: Sequence[str], of: Trainings, judge: Judge = by_last) -> Outcome:
    """The untouched model, unless a rival is better on validation."""
    best = UNTOUCHED
    for name in rivals:
        best = name if judge(of.row(name)) > judge(of.row(best)) else best
    return Outcome(frozenset(map(of.key, (UNTOUCHED, *rivals))), (of.key(best),))


def rung_winner(among: Sequence[str], of: Trainings) -> tuple[str, frozenset[Key]]:
    """The one whose short training has the lowest validation loss, and the rows of all short trainings."""
    rungs = of.there([name + RUNG for name in among])
    if not rungs:
        raise Missing(among[0] + RUNG)
    winner = max(rungs, key=lambda name: by_loss(of.row(name)))
    return winner.removesuffix(RUNG), frozenset(map(of.key, rungs))


def raced(among: Sequence[str], of: Trainings, judge: Judge = by_last, more: Sequence[str] = ()) -> Outcome:
    """The winner of short trainings, `more`, or the untouched model, all trained in full."""
    winner, rungs = rung_winner(among, of)
    found = best_of([*more, winner], of, judge)
    return Outcome(found.trained | rungs, found.kept)


def averaged(members: Sequence[str], of: Trainings) -> Outcome:
    keys = tuple(map(of.key, members))
    return Outcome(frozenset(keys), keys)


def averaged_with_winner(among: Sequence[str], of: Trainings, more: Sequence[str] = (UNTOUCHED,)) -> Outcome:
    """The average of the winner of short trainings and of `more`."""
    winner, rungs = rung_winner(among, of)
    found = averaged(list(dict.fromkeys([*more, winner])), of)
    return Outcome(found.trained | rungs, found.kept)


def seeds_of(variant: str, count: int, of: Trainings, more: Sequence[str] = ()) -> Outcome:
    """The average of one network by several seeds (other weights, order and validation part) and of `more`."""
    seeds = [of.seed, *of.other_seeds()][:count]
    keys = tuple((of.name, seed, variant) for seed in seeds)
    if len(seeds) < count or any(key not in of.rows for key in keys):
        raise Missing(variant)
    keys = (*keys, *map(of.key, more))
    return Outcome(frozenset(keys), keys)


def seeds_with_winner(among: Sequence[str], count: int, of: Trainings) -> Outcome:
    """The average of untouched models by several seeds and of the winner of short trainings."""
    winner, rungs = rung_winner(among, of)
    found = seeds_of(UNTOUCHED, count, of, [winner])
    return Outcome(found.trained | rungs, found.kept)


KERNELS, ALL = tuple(LADDER), ("wide12", *LADDER, *MULTI)
LADDER_MULTI = (*LADDER, *MULTI)
PROCEDURES: Mapping[str, Procedure] = {
    "untouched": partial(alone, UNTOUCHED),
    "untouched, 3 E": partial(alone, "untouched-3E"),
    "wider (12 for 8)": partial(alone, "wide12"),
    "several kernels a conv (ms3)": partial(alone, "ms3"),
    "random": partial(alone, "random1"),
    "DASH": partial(alone, "dash"),
    "random or untouched": partial(best_of, ["random1"]),
    "DASH or untouched": partial(best_of, ["dash"]),
    "wider or untouched": partial(best_of, ["wide12"]),
    "ms3 or untouched": partial(best_of, ["ms3"]),
    "ladder or untouched": partial(raced, KERNELS),
    "ladder with several kernels, or untouched": partial(raced, LADDER_MULTI),
    "race of kernels and width, or untouched": partial(raced, ALL),
    "best of untouched, wider, ms3": partial(best_of, ["wide12", "ms3"]),
    "best of untouched, wider, ms3, ladder": partial(raced, KERNELS, more=("wide12", "ms3")),
    "average of 2 untouched": partial(seeds_of, UNTOUCHED, 2),
    "average of 2 wider": partial(seeds_of, "wide12", 2),
    "average of 2 ms3": partial(seeds_of, "ms3", 2),
    "average of 2 random": partial(seeds_of, "random1", 2),
    "average of 2 untouched and ms3": partial(seeds_of, UNTOUCHED, 2, more=["ms3"]),
    "average of 2 untouched and random": partial(seeds_of, UNTOUCHED, 2, more=["random1"]),
    "average of 2 untouched and ladder": partial(seeds_with_winner, KERNELS, 2),
    "average of untouched and wider": partial(averaged, [UNTOUCHED, "wide12"]),
    "average of untouched and ms3": partial(averaged, [UNTOUCHED, "ms3"]),
    "average of wider and ms3": partial(averaged, ["wide12", "ms3"]),
    "average of untouched and ladder": partial(averaged_with_winner, KERNELS),
    "average of untouched and race": partial(averaged_with_winner, ALL),
    "average of untouched and DASH": partial(averaged, [UNTOUCHED, "dash"]),
    "average of untouched and random": partial(averaged, [UNTOUCHED, "random1"]),
    "average of untouched, wider, ms3": partial(averaged, [UNTOUCHED, "wide12", "ms3"]),
    "average of untouched, wider, ms3, ladder": partial(
        averaged_with_winner, KERNELS, more=(UNTOUCHED, "wide12", "ms3")
    ),
}


def outcomes(procedure: Procedure, rows: Rows) -> dict[tuple[str, int], Outcome]:
    """(set, seed) -> outcome, where all that it needs is there."""
    found = {}
    for name, seed in sorted({(name, seed) for name, seed, variant in rows.by_key if variant == UNTOUCHED}):
        try:
            found[name, seed] = procedure(Trainings(rows, name, seed))
        except Missing:
            continue
    return found


class Scores:
    """Test accuracies and costs of outcomes, each row's predictions read once.

    Args:
        weights: "" for those of the last epoch, "_best" for those of the epoch that was best on validation.
    """

    def __init__(self, rows: Rows, weights: str = "") -> None:
        self.rows, self._part = rows, f"test{weights}"
        self._probabilities: dict[Key, np.ndarray] = {}
        self._answers: dict[str, np.ndarray] = {}

    def accuracy(self, outcome: Outcome) -> float:
        """The share of right answers of the average of what is kept."""
        mean = np.mean([self._of(key) for key in outcome.kept], axis=0)
        return float((mean.argmax(1) == self._answers[outcome.kept[0][0]]).mean())

    def cost(self, outcome: Outcome) -> float:
        """Processor time of all trainings and searches, over that of one untouched model on the set."""
        usual = outcome.kept[0][0], UNTOUCHED
        own = [row["seconds"] for (name, _, variant), row in self.rows.by_key.items() if (name, variant) == usual]
        return sum(seconds_of(self.rows.by_key[key]) for key in outcome.trained) / fmean(own)

    def size(self, outcome: Outcome, what: str = "parameters") -> float:
        """Parameters or multiply-adds ("macs") of all that is handed back, over the untouched model's."""
        name, seed, _ = outcome.kept[0]
        own = self.rows.by_key[name, seed, UNTOUCHED][what]
        return sum(self.rows.by_key[key][what] for key in outcome.kept) / own

    def _of(self, key: Key) -> np.ndarray:
        if key not in self._probabilities:
            arrays = self.rows.predictions(key)
            self._probabilities[key] = softmax(arrays[self._part].astype(np.float64))
            self._answers[key[0]] = arrays["test_y"]
        return self._probabilities[key]


def seconds_of(row: Row) -> float:
    return float(row["seconds"]) + float(row.get("search_seconds", 0.0))


def softmax(scores: np.ndarray) -> np.ndarray:
    shifted = np.exp(scores - scores.max(1, keepdims=True))
    probabilities: np.ndarray = shifted / shifted.sum(1, keepdims=True)
    return probabilities
