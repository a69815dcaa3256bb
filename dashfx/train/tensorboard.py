"""TensorBoard scalars of a run's epochs, beside the run's own log."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dashfx.errors import ConfigError
from dashfx.train.progress import Epoch, Observer


class TensorBoard(Observer):
    """Writes loss, metric, learning rate and speed of every epoch, each site's largest coefficient, and evaluations.

    Args:
        folder: where the event files go; made at the first epoch, so that a refused run leaves nothing behind.

    Raises:
        ConfigError: TensorBoard is not installed.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise ConfigError(
                "--tensorboard: TensorBoard is not installed; pip install 'dashfx[tensorboard]', or leave the flag away"
            ) from None
        self._folder, self._make = folder, SummaryWriter
        self._made: SummaryWriter | None = None

    @property
    def _writer(self) -> Any:
        if self._made is None:
            self._made = self._make(str(self._folder))
        return self._made

    def epoch(self, facts: Epoch) -> None:
        step = facts.epoch + 1
        for name in ("loss", "metric", "lr", "steps_per_second"):
            self._writer.add_scalar(f"{facts.stage}/{name}", getattr(facts, name), step)
        for site, (share, _) in facts.mixtures.items():
            self._writer.add_scalar(f"{facts.stage} mixtures/{site}", share, step)
        self._writer.flush()  # a killed run keeps what it has written

    def evaluated(self, stage: str, done: int, total: int, best: float | None) -> None:
        if best is not None:
            self._writer.add_scalar(f"{stage}/best of the evaluations", best, done)
            self._writer.flush()
