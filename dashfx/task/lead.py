"""Lead of one model over another on the same rows, with its interval: what the rows alone leave open."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from dashfx.task.base import Task, evaluate
from dashfx.task.spread import GROUPS
from dashfx.task.voting import by_majority

Z = 1.96  # of a normal interval of 95 %
BY_ROW = ("accuracy", "error")  # metrics that are a mean over rows of right and wrong
PAIRED, JACKKNIFE = "normal over the paired rows", "jackknife over the paired rows"


@dataclass(frozen=True)
class Answers:
    """What a model says of each row (or record, where they vote), and what is true: (N, ...) each, on the CPU."""

    outputs: Tensor
    targets: Tensor


@dataclass(frozen=True)
class Lead:
    """By how much a model is ahead of another, in the metric's units: positive where it is better.

    Attributes:
        low, high: an interval of 95 %; NaN where the rows do not tell one.
        rows: that both have answered; `how` the interval comes about.
    """

    difference: float
    low: float
    high: float
    rows: int
    how: str

    @property
    def is_clear(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0

    def __str__(self) -> str:
        if math.isnan(self.low):
            return f"{self.difference:+.4f}"
        return f"{self.difference:+.4f} [{self.low:+.4f}, {self.high:+.4f}]"


def answers(pairs: Iterable[tuple[Tensor, Tensor]], records: object = None) -> Answers:
    """All rows of (output, target) batches; of records, where their rows vote."""
    found = by_majority(pairs, records) if records is not None else pairs  # type: ignore[arg-type]
    outputs, targets = (torch.cat(each).cpu() for each in zip(*found, strict=True))
    return Answers(outputs, targets)


def lead(task: Task, one: Answers, other: Answers) -> Lead:
    """How far `one` is ahead.

    Of accuracy and error a row counts 1, 0 or -1: the normal interval of the mean of these (McNemar's setting). Of
    other metrics the grouped jackknife's of the difference (Efron, "The Jackknife, the Bootstrap and Other Resampling
    Plans", 1982): rows are dealt out to G groups, d_g is the difference without group g, and the variance is
    (G - 1) / G * sum((d_g - mean)^2).
    """
    rows = len(one.targets)
    if task.metric_name in BY_ROW and one.targets.ndim == 1:
        found = _right(one) - _right(other)
        error = float(found.std()) / math.sqrt(rows) if rows > 1 else math.nan
        return _interval(float(found.mean()), error, rows, PAIRED)
    groups = min(GROUPS, rows)
    number = torch.arange(rows) % groups
    parts = [number != group for group in range(groups)] if groups > 1 else []
    without = torch.tensor([_difference(task, one, other, kept) for kept in parts], dtype=torch.float64)
    error = float(((groups - 1) * without.var(correction=0)).sqrt()) if groups > 1 else math.nan
    return _interval(_difference(task, one, other, number >= 0), error, rows, JACKKNIFE)


def _interval(difference: float, error: float, rows: int, how: str) -> Lead:
    return Lead(difference, difference - Z * error, difference + Z * error, rows, how)


def _right(found: Answers) -> Tensor:
    """(N,) ones and zeros."""
    return (found.outputs.argmax(1) == found.targets).double()


def _difference(task: Task, one: Answers, other: Answers, kept: Tensor) -> float:
    values = [evaluate(lambda x: x, [(each.outputs[kept], each.targets[kept])], task) for each in (one, other)]
    return (values[0] - values[1]) * (1 if task.maximise else -1)
