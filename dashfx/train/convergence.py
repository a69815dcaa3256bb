"""Convergence of a training: whether a longer one is likely to gain, as far as its own epochs tell.

Two signs together say that it has not converged: the training loss is still a good part of the validation loss, and
validation still gained at the end. One alone says little: noise in the labels keeps the losses together for ever, and
the fall of the rate gains something at the end of every schedule. A training whose length was found by its own
validation has converged where it found a plateau.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, linear_regression
from typing import Any

from dashfx.train.progress import Epoch

TAIL = 0.2  # of the epochs
FEWEST = 5  # epochs that something can be said of
# Chosen on 1-D networks that were trained for 500, 1,500 and 4,500 steps: none that gains clearly from three times the
# steps counts as converged, and of those that do not gain some are told to train longer.
RATIO = 1 / 3
GAIN = 0.05  # of what the metric gained in all
LOSS_GAIN = 0.02  # of the validation loss
LONGER = 3  # times as many epochs are advised


@dataclass(frozen=True)
class Convergence:
    """How a training ended.

    Attributes:
        metric: its name.
        epochs: how many it had.
        ratio: training loss over validation loss in the last fifth; NaN where they are below 0.
        gain: what the metric gained over the last fifth, in its units, along a straight line; below 0 it got worse.
        share: the same as a share of what it gained since the first fifth; NaN where that is nothing.
        loss_gain: by which share of itself the validation loss fell over the last fifth; NaN as `ratio`.
        plateau: whether one of validation ended the training; None where its length was given.
    """

    metric: str
    epochs: int
    ratio: float
    gain: float
    share: float
    loss_gain: float
    plateau: bool | None = None

    @property
    def converged(self) -> bool:
        if self.plateau is not None:
            return self.plateau
        return self.ratio <= RATIO or not (self.share > GAIN or self.loss_gain > LOSS_GAIN)

    @property
    def sentence(self) -> str:
        """The verdict in words, with what to do."""
        if self.plateau:
            return f"training has converged: validation reached a plateau, and {self.epochs} epochs were enough"
        by = "" if math.isnan(self.ratio) else f", with the training loss at {self.ratio:.2g} of the validation loss"
        if self.converged:
            return f"training has converged: validation {self.metric} gained {self.gain:+.2g} over the last fifth{by}"
        longer = LONGER * self.epochs
        if self.plateau is False:
            return (
                f"training has not converged: validation reached no plateau in {self.epochs} epochs, which were the "
                f"most{by}; more epochs come before kernels: --set retrain.max_epochs={longer}, or a larger --budget"
            )
        gained = f"{self.metric} still gained {self.gain:.2g}"
        if not self.share > GAIN:
            gained = f"loss still fell by {100 * self.loss_gain:.2g} %"
        return (
            f"training has not converged: validation {gained} over the last fifth{by}; more epochs come before "
            f"kernels: --retrain-epochs {longer}"
        )

    def to_dict(self) -> dict[str, Any]:
        """What `result.json` holds; None for what is not known."""
        known = {
            name: None if isinstance(value, float) and math.isnan(value) else value
            for name, value in asdict(self).items()
        }
        return {"converged": self.converged, **known, "sentence": self.sentence}


def convergence(history: Sequence[Epoch], maximise: bool, metric: str = "metric") -> Convergence | None:
    """What the epochs of one training say; None of fewer than `FEWEST`."""
    if len(history) < FEWEST:
        return None
    tail = history[-max(3, math.ceil(TAIL * len(history))) :]
    head, sign = history[: len(tail)], 1 if maximise else -1
    metrics, losses = [sign * epoch.metric for epoch in tail], [epoch.valid_loss for epoch in tail]
    gain, level = rise(metrics), mean(losses)
    whole = mean(metrics) - mean([sign * epoch.metric for epoch in head])
    ratio = over(mean([epoch.loss for epoch in tail]), level)
    return Convergence(
        metric,
        len(history),
        ratio if ratio >= 0 else math.nan,
        gain,
        over(gain, whole),
        over(-rise(losses), level),
        plateau(history),
    )


def plateau(history: Sequence[Epoch]) -> bool | None:
    """Whether a plateau of validation ended the training before its most; None where its length was given."""
    most = max((epoch.epochs for epoch in history if epoch.open), default=None)
    return None if most is None else not history[-1].open and history[-1].epochs < most


def over(value: float, by: float) -> float:
    """NaN where `by` is not above 0."""
    return value / by if by > 0 else math.nan


def mean(values: Sequence[float]) -> float:
    """Of the finite ones; NaN without any."""
    finite = [value for value in values if math.isfinite(value)]
    return fmean(finite) if finite else math.nan


def rise(values: Sequence[float]) -> float:
    """By how much a straight line through the finite values rises over all of them; NaN through fewer than two."""
    points = [(i, value) for i, value in enumerate(values) if math.isfinite(value)]
    return linear_regression(*zip(*points, strict=True)).slope * len(values) if len(points) > 1 else math.nan
