"""Scalars for TensorBoard: which, and what happens without it."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from dashfx.errors import ConfigError
from dashfx.train.loggers.tensorboard import TensorBoard
from dashfx.train.progress import Epoch


class Writer:
    """Stands in for torch's SummaryWriter."""

    def __init__(self, folder: str) -> None:
        Path(folder).mkdir(parents=True)
        self.scalars: list[tuple[str, float, int]] = []

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self.scalars.append((name, value, step))

    def flush(self) -> None: ...


def test_epochs_become_scalars_and_the_folder_comes_late(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake: Any = ModuleType("torch.utils.tensorboard")
    fake.SummaryWriter = Writer
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", fake)
    board = TensorBoard(tmp_path / "run" / "tensorboard")
    assert not (tmp_path / "run").exists()
    board.epoch(Epoch("search", 0, 2, 0.5, 0.75, 0.75, 0.1, 1.0, 9.0, {"conv1": (0.4, "k3 d1")}))
    board.evaluated("search", 3, 10, 0.9)
    expected = [("loss", 0.5, 1), ("metric", 0.75, 1), ("lr", 0.1, 1), ("steps_per_second", 9.0, 1)]
    assert board._writer.scalars == [
        *((f"search/{name}", value, step) for name, value, step in expected),
        ("search mixtures/conv1", 0.4, 1),
        ("search/best of the evaluations", 0.9, 3),
    ]


def test_without_tensorboard_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ConfigError, match=r"pip install 'dashfx\[tensorboard\]'"):
        TensorBoard(tmp_path)
