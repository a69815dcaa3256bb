"""Pace of a run: the time that is left of all its stages, from the epochs planned and what epochs have taken so far."""

from __future__ import annotations

from collections.abc import Mapping

from dashfx.train.progress import Epoch

PLAIN_EPOCHS = 4.0  # what an epoch of a supernet takes in those of a plain model, until one of these has been seen
SUPERNET = ("search", "one-by-one")  # stages that train a supernet; all others train a plain model


class Pace:
    """Counts epochs as they are done."""

    def __init__(self) -> None:
        self._plan: dict[str, float] = {}
        self._done: dict[str, float] = {}
        self._seconds: dict[bool, list[float]] = {True: [], False: []}  # of an epoch, by whether of a supernet
        self._at_most = False

    def planned(self, epochs: Mapping[str, float], at_most: bool = False) -> None:
        """How many epochs each stage is to have; fractions where a stage sees a share of the data."""
        self._plan, self._at_most = dict(epochs), at_most

    @property
    def about(self) -> str:
        """What the seconds that are left are: "about" so many, or "at most" where validation ends a training."""
        return "at most" if self._at_most else "about"

    def epoch(self, facts: Epoch) -> None:
        self._done[facts.stage] = facts.epoch + 1
        if facts.stage in self._plan and not facts.open:  # by now its length is known
            self._plan[facts.stage] = min(self._plan[facts.stage], facts.epochs)
        self._seconds[facts.stage in SUPERNET].append(facts.seconds)

    def finished(self, stage: str) -> None:
        """A stage that ended early has nothing left."""
        if stage in self._plan:
            self._done[stage] = self._plan[stage]

    def left(self) -> float | None:
        """Seconds; None before the first epoch, or where nothing was planned."""
        plain, supernet = (self._mean(kind) for kind in (False, True))
        if not self._plan or (plain is None and supernet is None):
            return None
        plain = supernet / PLAIN_EPOCHS if plain is None and supernet is not None else plain
        supernet = plain * PLAIN_EPOCHS if supernet is None and plain is not None else supernet
        cost = {True: supernet or 0.0, False: plain or 0.0}
        rest = {stage: max(0.0, epochs - self._done.get(stage, 0)) for stage, epochs in self._plan.items()}
        return sum(epochs * cost[stage in SUPERNET] for stage, epochs in rest.items())

    def _mean(self, supernet: bool) -> float | None:
        seconds = self._seconds[supernet]
        return sum(seconds) / len(seconds) if seconds else None
