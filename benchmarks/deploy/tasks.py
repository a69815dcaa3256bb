"""Small tasks with an answer a row, so that what int8 costs is a metric: digits, planted motifs, outlined digits.

All of it is drawn from seed 0. A part is (x, y); each row is scored between 0 and 1, and the mean is the metric.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn

from dashfx.frontend.tracing import copy_model

Part = tuple[Tensor, Tensor]
ROWS = {"train": 1200, "valid": 297, "test": 300}
BATCH = 32
AT_ONCE = 64  # rows of a call that measures a metric


@dataclass(frozen=True)
class Task:
    """Rows with answers, and what a model's outputs for them are worth."""

    train: Part
    valid: Part
    test: Part
    loss: Callable[[Tensor, Tensor], Tensor]
    scores: Callable[[Tensor, Tensor], Tensor]


def digits(size: int) -> Task:
    """Grey digits of 8x8, enlarged, moved, in random colours and noise: (N, 3, size, size) to ten classes."""
    rng, (small, y) = _generator(), _digits()
    x = F.interpolate(small, size=(size, size), mode="bilinear")
    moved = [torch.roll(each, rng.integers(-size // 8, size // 8 + 1, 2).tolist(), (1, 2)) for each in x]
    colours = torch.from_numpy(rng.uniform(0.2, 1, (len(x), 3, 1, 1)))
    noisy = torch.stack(moved) * colours + torch.from_numpy(rng.normal(0, 0.3, (len(x), 3, size, size)))
    return _task(noisy, y, F.cross_entropy, _right)


def motifs(length: int, classes: int = 10, taps: int = 32) -> Task:
    """Noise with one of ten motifs somewhere in the later half: (N, 1, length) to its number."""
    rng, rows = _generator(), sum(ROWS.values())
    waves = np.cumsum(rng.normal(size=(classes, taps)), 1) * np.hanning(taps)
    waves /= waves.std(1, keepdims=True)
    y = rng.integers(0, classes, rows)
    x = rng.normal(size=(rows, 1, length))
    for row, kind in enumerate(y):
        start = rng.integers(length // 2, length - taps + 1)
        x[row, 0, start : start + taps] += 1.6 * waves[kind]
    return _task(torch.from_numpy(x), torch.from_numpy(y), F.cross_entropy, _right)


def outlines(size: int) -> Task:
    """Digits of half the size somewhere in noise: (N, 1, size, size) to where their strokes are."""
    rng, (small, _) = _generator(), _digits()
    strokes = F.interpolate(small, size=(size // 2, size // 2), mode="bilinear")
    whole = torch.zeros(len(small), 1, size, size, dtype=small.dtype)
    for row, (top, left) in enumerate(rng.integers(0, size // 2 + 1, (len(small), 2))):
        whole[row, :, top : top + size // 2, left : left + size // 2] = strokes[row]
    noisy = whole + torch.from_numpy(rng.normal(0, 0.4, whole.shape))
    return _task(noisy, (whole > 0.5).float(), F.binary_cross_entropy_with_logits, _overlap)


def _generator() -> np.random.Generator:
    return np.random.default_rng(0)


def _digits() -> Part:
    x, y = load_digits(return_X_y=True)
    return torch.from_numpy(x).reshape(-1, 1, 8, 8) / 16, torch.from_numpy(y)


def _right(output: Tensor, y: Tensor) -> Tensor:
    return (output.argmax(1) == y).double()


def _overlap(output: Tensor, y: Tensor) -> Tensor:
    """The Dice coefficient of each row."""
    found, there = (output > 0).flatten(1).double(), y.flatten(1).double()
    return (2 * (found * there).sum(1) + 1) / (found.sum(1) + there.sum(1) + 1)


def _task(
    x: Tensor, y: Tensor, loss: Callable[[Tensor, Tensor], Tensor], scores: Callable[[Tensor, Tensor], Tensor]
) -> Task:
    """The parts, normalised by the training part's mean and deviation."""
    ends = np.cumsum(list(ROWS.values()))
    x, y = x[: ends[-1]], y[: ends[-1]]
    x = ((x - x[: ends[0]].mean()) / x[: ends[0]].std()).float()
    train, valid, test = ((x[end - n : end], y[end - n : end]) for n, end in zip(ROWS.values(), ends, strict=True))
    return Task(train, valid, test, loss, scores)


def fit(model: nn.Module, task: Task, epochs: int) -> nn.Module:
    """The model, trained by Adam with a rate that rises and falls; rows are shuffled by seed 0."""
    generator, (x, y) = torch.Generator().manual_seed(0), task.train
    steps = math.ceil(len(x) / BATCH)
    optimiser = torch.optim.Adam(model.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, epochs * steps)
    model.train()
    for _ in range(epochs):
        for rows in torch.randperm(len(x), generator=generator).split(BATCH):
            optimiser.zero_grad()
            task.loss(model(x[rows]), y[rows]).backward()
            optimiser.step()
            schedule.step()
    return copy_model(model).eval().requires_grad_(False)


def measured(predict: Callable[[Tensor], Tensor], task: Task, part: Part) -> tuple[float, float]:
    """The mean score over a part, and its standard error."""
    x, y = part
    with torch.no_grad():
        output = torch.cat([predict(rows) for rows in x.split(AT_ONCE)])
    scores = task.scores(output, y)
    return scores.mean().item(), (scores.std() / math.sqrt(len(scores))).item()
