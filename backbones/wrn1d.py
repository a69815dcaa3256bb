"""The residual network for time series, in the widths of DASH: (N, in_channels, L) to class scores, or one per step."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ResBlock1d(nn.Module):
    """Three convs of 7, 5 and 3 taps, each with BN, beside a shortcut of BN and, where channels change, a 1x1 conv."""

    def __init__(self, in_channels: int, out_channels: int, dropout: float) -> None:
        super().__init__()
        self.conv1, self.bn1 = _conv(in_channels, out_channels, 7), nn.BatchNorm1d(out_channels)
        self.conv2, self.bn2 = _conv(out_channels, out_channels, 5), nn.BatchNorm1d(out_channels)
        self.conv3, self.bn3 = _conv(out_channels, out_channels, 3), nn.BatchNorm1d(out_channels)
        self.dropout = nn.Dropout(dropout)
        self.shortcut = nn.Sequential()
        if in_channels != out_channels:
            self.shortcut.append(_conv(in_channels, out_channels, 1))
        self.shortcut.append(nn.BatchNorm1d(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        out = torch.relu(self.bn1(self.conv1(x)))
        out = torch.relu(self.bn2(self.conv2(self.dropout(out))))
        out = self.bn3(self.conv3(out))
        return torch.relu(out + self.shortcut(x))


class WRN1d(nn.Module):
    """Three residual blocks of three convs, then the mean over time and a linear layer.

    The ResNet of Wang, Yan and Oates, "Time Series Classification from Scratch" (IJCNN 2017), with 7 taps in place of 8
    so that every conv is centred. The width follows DASH (Shen, Khodak and Talwalkar, NeurIPS 2022).

    Args:
        width: channels of the first block, the later two have twice as many; None gives
            min(4 ** (num_classes // 10 + 1), 64).
        dense: one output vector per step, by a 1x1 conv in place of the mean and the linear layer.

    Shapes:
        (N, in_channels, L) -> (N, num_classes), or (N, num_classes, L) where dense.
    """

    def __init__(
        self,
        num_classes: int = 10,
        in_channels: int = 1,
        width: int | None = None,
        dropout: float = 0.0,
        dense: bool = False,
    ) -> None:
        super().__init__()
        if width is None:
            width = min(4 ** (num_classes // 10 + 1), 64)
        self.block1 = ResBlock1d(in_channels, width, dropout)
        self.block2 = ResBlock1d(width, 2 * width, dropout)
        self.block3 = ResBlock1d(2 * width, 2 * width, dropout)
        self.dense = dense
        self.head = nn.Conv1d(2 * width, num_classes, 1) if dense else nn.Linear(2 * width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.block3(self.block2(self.block1(x)))
        return self.head(x if self.dense else x.mean(-1))


def _conv(in_channels: int, out_channels: int, kernel: int) -> nn.Conv1d:
    return nn.Conv1d(in_channels, out_channels, kernel, padding=kernel // 2, bias=False)
