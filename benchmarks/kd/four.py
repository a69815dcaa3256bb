"""A network of four searched convs for series, small enough that all its 256 genotypes can be trained.

dashfx search benchmarks/kd/four.py:Four --data mnist5k-seq --kernels 3,9 --dilations 1,4 --method dash
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Four(nn.Module):
    """Convs of 3 taps with batch norm, the mean of four, two and two steps in between, and the mean over all."""

    def __init__(self, num_classes: int = 10, in_channels: int = 1, width: int = 8) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(in_channels, width, 3, padding=1, bias=False)
        self.conv2 = nn.Conv1d(width, width, 3, padding=1, bias=False)
        self.conv3 = nn.Conv1d(width, 2 * width, 3, padding=1, bias=False)
        self.conv4 = nn.Conv1d(2 * width, 2 * width, 3, padding=1, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm1d(n) for n in (width, width, 2 * width, 2 * width))
        self.fc = nn.Linear(2 * width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.avg_pool1d(torch.relu(self.norms[0](self.conv1(x))), 4)
        x = F.avg_pool1d(torch.relu(self.norms[1](self.conv2(x))), 2)
        x = F.avg_pool1d(torch.relu(self.norms[2](self.conv3(x))), 2)
        x = torch.relu(self.norms[3](self.conv4(x))).mean(-1)
        y: Tensor = self.fc(x)
        return y
