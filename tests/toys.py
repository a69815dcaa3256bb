"""Data, models and settings so small that a whole search takes a second."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dashfx.data import Data, load_data

SIZE, CLASSES = 24, 3
SPACE = {"kernels": [3, 5], "dilations": [1, 2]}
FAST: dict[str, Any] = {
    "space": SPACE,
    "search": {"epochs": 3, "batch_size": 16, "lr": 0.05},
    "retrain": {"epochs": 2, "batch_size": 16},
    "device": "cpu",
    "control": False,
    "finalists": {"longer": False},
}


def arrays(rows: int = 90, seed: int = 0) -> dict[str, np.ndarray]:
    """Noise of SIZE steps on two channels, with a wave of the class's length on the first."""
    rng = np.random.default_rng(seed)
    y = np.arange(rows) % CLASSES
    wave = np.sin(np.arange(SIZE)[None] * (y[:, None] + 1) * 0.7 + rng.uniform(0, 6, (rows, 1)))
    x = rng.normal(size=(rows, 2, SIZE)) * 0.5
    x[:, 0] += wave
    return {"x": x.astype(np.float32), "y": y}


def toy_data(rows: int = 90) -> Data:
    return load_data(arrays(rows))


class ToyNet(nn.Module):
    """Two convs, batch norm, dropout: what a resumed run must bring back."""

    def __init__(self, width: int = 4, dropout: float = 0.1) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(2, width, 3, padding=1)
        self.norm = nn.BatchNorm1d(width)
        self.conv2 = nn.Conv1d(width, width, 3, padding=1)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(width, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.conv1(x)))
        return self.fc(self.dropout(torch.relu(self.conv2(x)).amax(-1)))
