"""Scores of a classifier class by class, its confusions, and how far its probabilities can be trusted."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torchmetrics.functional.classification import multiclass_calibration_error

from dashfx.data.base import IGNORED, Data
from dashfx.task.base import Task
from dashfx.task.calibration import BINS, Trust, trust

MOST_POSITIONS = 2_000_000  # whose probabilities are kept for the calibration error; of more the first ones


@dataclass(frozen=True)
class ClassScores:
    """What a classifier does with rows (or positions) of each class.

    Attributes:
        counts: how many there are of each.
        precision, recall: of each; None where nothing was taken for it, or where there is none of it.
        confusion: confusion[truth][answer], counts.
        calibration: the expected calibration error of the largest softmax probability, from 0 to 1.
        trust: more on its probabilities; None where no rows were held for a temperature, or none are known.
    """

    names: tuple[str, ...]
    counts: tuple[int, ...]
    precision: tuple[float | None, ...]
    recall: tuple[float | None, ...]
    confusion: tuple[tuple[int, ...], ...]
    calibration: float
    trust: Trust | None = None


def scores_by_class(
    predict: Callable[[Tensor], Tensor],
    loader: Iterable[tuple[Tensor, Tensor]],
    task: Task,
    data: Data,
    held: Iterable[tuple[Tensor, Tensor]] | None = None,
) -> ClassScores | None:
    """Those over everything that `loader` gives; None where the task does not name one class a row or position.

    Args:
        held: other rows, by which a temperature is found.
    """
    if task.kind not in ("classes", "dense-classes"):
        return None
    n = data.n_outputs
    confusion = torch.zeros(n, n, dtype=torch.long)
    scores, truths = _answers(predict, loader, n, confusion)
    error = (
        multiclass_calibration_error(scores.softmax(1), truths, n, n_bins=BINS) if len(truths) else torch.tensor(0.0)
    )
    others = None if held is None else _answers(predict, held, n)
    known = others is not None and len(others[1]) > 0 and len(truths) > 0
    right, taken, there = confusion.diagonal().double(), confusion.sum(0), confusion.sum(1)
    return ClassScores(
        data.labels or tuple(map(str, range(n))),
        tuple(there.tolist()),
        _shares(right, taken),
        _shares(right, there),
        tuple(tuple(row) for row in confusion.tolist()),
        float(error),
        trust(others, (scores, truths)) if known and others is not None else None,
    )


def _answers(
    predict: Callable[[Tensor], Tensor],
    loader: Iterable[tuple[Tensor, Tensor]],
    n: int,
    confusion: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The first `MOST_POSITIONS` scores (rows, n) with their class numbers; all are counted in `confusion`."""
    kept, room = [], MOST_POSITIONS
    with torch.no_grad():
        for x, y in loader:
            scores = predict(x).float().cpu().movedim(1, -1).reshape(-1, n)
            truth = y.flatten()
            scores, truth = scores[truth != IGNORED], truth[truth != IGNORED]
            if confusion is not None:
                confusion += torch.bincount(truth * n + scores.argmax(1), minlength=n * n).view(n, n)
            kept.append((scores[:room], truth[:room]))
            room = max(0, room - len(truth))
    found, truths = (torch.cat(each) for each in zip(*kept, strict=True))
    return found, truths


def _shares(right: Tensor, of: Tensor) -> tuple[float | None, ...]:
    return tuple(share if count else None for share, count in zip((right / of).tolist(), of.tolist(), strict=True))
