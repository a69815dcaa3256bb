"""Convergence of a training, judged from its epochs: whether more of them would still make the model better."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean, stdev

from dashfx.train.progress import Epoch

FITTED = 0.3  # of training over validation loss: below it there is little left to be learned from the training part
LEAST = 5  # epochs, of fewer nothing can be said
TAIL = 0.2  # of the epochs, at the end


def has_converged(history: Sequence[Epoch]) -> bool:
    """Whether the training part is all but learned, or the validation loss has come to a rest.

    It rests where it falls from the first to the second half of the last fifth by less than its own noise there, which
    the differences between neighbouring epochs tell.
    """
    if len(history) < LEAST:
        return False
    last = history[-1]
    if last.loss <= FITTED * last.valid_loss:
        return True
    tail = [epoch.valid_loss for epoch in history[-max(LEAST, round(TAIL * len(history))) :]]
    half = len(tail) // 2
    fallen = fmean(tail[:half]) - fmean(tail[-half:])
    noise = stdev(b - a for a, b in pairwise(tail)) / (2 * half) ** 0.5
    return fallen <= noise
