"""Length of a training: a given number of epochs, or `auto`, which ends it by what its own validation shows.

`auto` is the warmup-stable-decay schedule: the rate rises over the first steps, stays at its peak until validation has
reached a plateau, and then falls over a fixed share of what was trained, so that every training ends with a complete
schedule although nobody knew its length (Hägele et al., "Scaling Laws and Compute-Optimal Training Beyond Fixed
Training Durations", NeurIPS 2024). All of it follows from the options and the history, and from nothing else.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from dashfx.config.run import RetrainConfig
from dashfx.config.search import AUTO, FitConfig
from dashfx.train.progress import Epoch
from dashfx.train.schedule import falling, rising, schedule_of

# Steps and epochs of `auto`; the larger of the two counts. Small 1-D networks are far from their end after 500 steps,
# close to it after 1,500, and gain hardly anything beyond 4,500.
LEAST, USUAL, MOST = (500, 10), (1500, 25), (6000, 60)
WARM_UP = 100  # steps, but no more than a tenth of the least that is trained
COOL_DOWN = 0.25  # of what was trained before: a fifth of all, about where the paper's cool-downs come up to a cosine
WINDOW = 200  # steps that validation is averaged over, and at least SMOOTHED epochs
SMOOTHED = 3
RECENT = 1 / 3  # of a training: what it gained is compared with what all of it gained
TOLERANCE = 0.03  # of all that was gained; an exponential approach is within it after five of its time constants


@dataclass(frozen=True)
class Bounds:
    """Epochs: the least, the most, and what is reckoned with; all the same where the number is given."""

    least: int
    usual: int
    most: int

    @property
    def given(self) -> bool:
        return self.least == self.most

    def __str__(self) -> str:
        return f"{self.most} epochs" if self.given else f"at most {self.most} epochs"


def bounds_of(config: FitConfig, rows: int, processes: int = 1) -> Bounds:
    """Of a training on so many rows, by so many processes."""
    if config.epochs != AUTO:
        return Bounds(config.epochs, config.epochs, config.epochs)
    steps = steps_of(config, rows, processes)
    least, usual, most = (max(math.ceil(n / steps), epochs) for n, epochs in (LEAST, USUAL, MOST))
    if isinstance(config, RetrainConfig) and config.max_epochs is not None:
        most = config.max_epochs
    return Bounds(min(least, most), min(usual, most), most)


def steps_of(config: FitConfig, rows: int, processes: int = 1) -> int:
    """Of an epoch: full batches alone, but one at least."""
    return max(1, max(1, round(config.fraction * rows)) // (config.batch_size * processes))


@dataclass(frozen=True)
class Plan:
    """How long a training is, as far as its history tells, and the rate on the way.

    Attributes:
        epochs: in all; at most so many where `open`.
        stable: of them ahead of the cool-down, the warm-up included; all of them where the number was given.
        open: whether validation decides yet.
        rate: epochs done -> multiple of the peak rate.
    """

    epochs: int
    stable: int
    open: bool
    rate: Callable[[float], float] = field(compare=False, repr=False)


class Length(ABC):
    """How long a training is."""

    @abstractmethod
    def plan(self, history: Sequence[Epoch]) -> Plan:
        """What follows from the epochs that are done."""


@dataclass(frozen=True)
class Given(Length):
    """A number of epochs, with any schedule."""

    config: FitConfig
    epochs: int

    def plan(self, history: Sequence[Epoch]) -> Plan:
        schedule = schedule_of(self.config)
        return Plan(self.epochs, self.epochs, False, lambda done: schedule(done / self.epochs, self.config))


@dataclass(frozen=True)
class UntilPlateau(Length):
    """Warm-up, the peak rate until validation has reached a plateau, cool-down.

    Args:
        bounds: of all its epochs, the cool-down included.
        steps: of an epoch.
        maximise: whether the metric is better where it is larger.
    """

    bounds: Bounds
    steps: int
    maximise: bool

    def plan(self, history: Sequence[Epoch]) -> Plan:
        most = longest_stable(self.bounds.most)
        least = min(most, shortest_stable(self.bounds.least))
        flat = Plateau(history[:most], max(SMOOTHED, math.ceil(WINDOW / self.steps)), self.maximise)
        for stable in range(least, min(most, len(history) + 1)):
            if flat.after(stable):
                return self._closed(with_cool_down(stable), stable)
        if len(history) < most:
            return Plan(self.bounds.most, most, True, self._warm_up)
        return self._closed(self.bounds.most, most)

    def _closed(self, epochs: int, stable: int) -> Plan:
        def rate(done: float) -> float:
            return self._warm_up(done) if done < stable else falling((done - stable) / (epochs - stable))

        return Plan(epochs, stable, False, rate)

    def _warm_up(self, done: float) -> float:
        return rising(done / min(WARM_UP / self.steps, self.bounds.least / 10))


def length_of(config: FitConfig, rows: int, processes: int, maximise: bool) -> Length:
    """The length that the options ask for."""
    if config.epochs != AUTO:
        return Given(config, config.epochs)
    return UntilPlateau(bounds_of(config, rows, processes), steps_of(config, rows, processes), maximise)


def with_cool_down(stable: int) -> int:
    """All epochs, of so many before the cool-down.

    >>> [with_cool_down(n) for n in (0, 1, 4, 5, 8, 400)]
    [0, 2, 5, 7, 10, 500]
    """
    return stable + math.ceil(COOL_DOWN * stable)


def longest_stable(epochs: int) -> int:
    """The most ahead of a cool-down that ends by `epochs`.

    >>> [longest_stable(n) for n in (1, 2, 5, 6, 7, 10)]
    [0, 1, 4, 4, 5, 8]
    """
    return next(stable for stable in range(epochs, -1, -1) if with_cool_down(stable) <= epochs)


def shortest_stable(epochs: int) -> int:
    """The least ahead of a cool-down that does not end before `epochs`.

    >>> [shortest_stable(n) for n in (1, 2, 5, 6, 7, 10)]
    [1, 1, 4, 5, 5, 8]
    """
    return next(stable for stable in range(1, epochs + 1) if with_cool_down(stable) >= epochs)


class Plateau:
    """Whether validation had stopped to gain, after each number of epochs.

    Metric and loss are averaged over the last `window` epochs. A plateau is where the best average of neither has
    gained, over the last third of the epochs, more than a small share of what it has gained since the first one. So no
    unit and no size of a metric matters. What is not finite counts as not there.
    """

    def __init__(self, history: Sequence[Epoch], window: int, maximise: bool) -> None:
        sign = 1 if maximise else -1
        curves = [sign * epoch.metric for epoch in history], [-epoch.valid_loss for epoch in history]
        self._best = [best_so_far(averaged(curve, window)) for curve in curves]

    def after(self, epochs: int) -> bool:
        return all(self._flat(best, epochs) for best in self._best)

    @staticmethod
    def _flat(best: Sequence[float], epochs: int) -> bool:
        """Of the best averages so far, epoch by epoch; NaN where there is none yet."""
        now, before = best[epochs - 1], best[max(0, epochs - 1 - math.ceil(RECENT * epochs))]
        if math.isnan(now):
            return True  # a curve without a value says nothing
        first = next(value for value in best if not math.isnan(value))
        return not math.isnan(before) and now - before <= TOLERANCE * (now - first)


def averaged(values: Sequence[float], window: int) -> list[float]:
    """The mean of the finite ones of the last `window` values at each place; NaN ahead of the first full window.

    >>> averaged([1.0, 2.0, 4.0, float("nan"), 8.0], 2)
    [nan, 1.5, 3.0, 4.0, 8.0]
    """
    found = []
    for end in range(1, len(values) + 1):
        finite = [value for value in values[max(0, end - window) : end] if math.isfinite(value)]
        found.append(fmean(finite) if finite and end >= window else math.nan)
    return found


def best_so_far(values: Sequence[float]) -> list[float]:
    """The largest value up to each place; NaN ahead of the first.

    >>> best_so_far([float("nan"), 1.0, 0.5, 2.0])
    [nan, 1.0, 1.0, 2.0]
    """
    best, found = math.nan, []
    for value in values:
        best = value if math.isnan(best) or value > best else best
        found.append(best)
    return found
