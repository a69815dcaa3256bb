"""Scores of a classifier class by class, its confusions, and how far its probabilities can be trusted."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torchmetrics.functional.classification import multiclass_calibration_error

from dashfx.data.base import IGNORED, Data
from dashfx.task.base import Task

BINS = 15  # of the calibration error, as in Guo et al., "On Calibration of Modern Neural Networks", ICML 2017
MOST_POSITIONS = 2_000_000  # whose probabilities are kept for the calibration error; of more the first ones


@dataclass(frozen=True)
class ClassScores:
    """What a classifier does with rows (or positions) of each class.

    Attributes:
        counts: how many there are of each.
        precision, recall: of each; None where nothing was taken for it, or where there is none of it.
        confusion: confusion[truth][answer], counts.
        calibration: the expected calibration error of the largest softmax probability, from 0 to 1.
    """

    names: tuple[str, ...]
    counts: tuple[int, ...]
    precision: tuple[float | None, ...]
    recall: tuple[float | None, ...]
    confusion: tuple[tuple[int, ...], ...]
    calibration: float


def scores_by_class(
    predict: Callable[[Tensor], Tensor], loader: Iterable[tuple[Tensor, Tensor]], task: Task, data: Data
) -> ClassScores | None:
    """Those over everything that `loader` gives; None where the task does not name one class a row or position."""
    if task.kind not in ("classes", "dense-classes"):
        return None
    n = data.n_outputs
    confusion, kept, room = torch.zeros(n, n, dtype=torch.long), [], MOST_POSITIONS
    with torch.no_grad():
        for x, y in loader:
            scores = predict(x).float().cpu().movedim(1, -1).reshape(-1, n)
            truth = y.flatten()
            scores, truth = scores[truth != IGNORED], truth[truth != IGNORED]
            confusion += torch.bincount(truth * n + scores.argmax(1), minlength=n * n).view(n, n)
            kept.append((scores[:room].softmax(1), truth[:room]))
            room = max(0, room - len(truth))
    probabilities, truths = (torch.cat(each) for each in zip(*kept, strict=True))
    error = multiclass_calibration_error(probabilities, truths, n, n_bins=BINS) if len(truths) else torch.tensor(0.0)
    right, taken, there = confusion.diagonal().double(), confusion.sum(0), confusion.sum(1)
    return ClassScores(
        data.labels or tuple(map(str, range(n))),
        tuple(there.tolist()),
        _shares(right, taken),
        _shares(right, there),
        tuple(tuple(row) for row in confusion.tolist()),
        float(error),
    )


def _shares(right: Tensor, of: Tensor) -> tuple[float | None, ...]:
    return tuple(share if count else None for share, count in zip((right / of).tolist(), of.tolist(), strict=True))
