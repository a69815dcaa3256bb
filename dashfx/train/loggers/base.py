"""Scalars of a run, the base of its loggers: loss, metric, rate and speed of every epoch, mixtures, and evaluations."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from dashfx.errors import ConfigError
from dashfx.train.progress import Epoch, Observer

EPOCH = ("loss", "metric", "lr", "steps_per_second")


class ScalarLogger(Observer):
    """Writes by `scalar` and `flush`; nothing is made before the first scalar, so that a refused run leaves nothing."""

    @abstractmethod
    def scalar(self, name: str, value: float, step: int) -> None:
        """One number; names are `stage/what`."""

    def flush(self) -> None:
        """A killed run keeps what was written before."""

    def epoch(self, facts: Epoch) -> None:
        step = facts.epoch + 1
        for name in EPOCH:
            self.scalar(f"{facts.stage}/{name}", getattr(facts, name), step)
        for site, (share, _) in facts.mixtures.items():
            self.scalar(f"{facts.stage} mixtures/{site}", share, step)
        self.flush()

    def evaluated(self, stage: str, done: int, total: int, best: float | None) -> None:
        if best is not None:
            self.scalar(f"{stage}/best of the evaluations", best, done)
            self.flush()


def missing(flag: str, package: str) -> ConfigError:
    """What a user is told where a logger's package is not installed."""
    return ConfigError(f"--{flag}: {package} is not installed; pip install 'dashfx[{flag}]', or leave the flag away")


def flat(values: dict[str, Any]) -> dict[str, Any]:
    """Values as parameters: numbers and text stay, everything else becomes text."""
    return {name: value if isinstance(value, int | float | str) else str(value) for name, value in values.items()}
