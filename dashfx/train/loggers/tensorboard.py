"""TensorBoard: scalars of a run as event files, beside the run's own log."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dashfx.train.loggers.base import ScalarLogger, missing


class TensorBoard(ScalarLogger):
    """Event files in a folder, which is made at the first scalar.

    Raises:
        ConfigError: TensorBoard is not installed.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise missing("tensorboard", "TensorBoard") from None
        self._folder, self._make = folder, SummaryWriter
        self._made: SummaryWriter | None = None

    @property
    def _writer(self) -> Any:
        if self._made is None:
            self._made = self._make(str(self._folder))
        return self._made

    def scalar(self, name: str, value: float, step: int) -> None:
        self._writer.add_scalar(name, value, step)

    def flush(self) -> None:
        self._writer.flush()
