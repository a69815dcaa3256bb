"""Wide residual networks for images: (N, in_channels, H, W) to class scores, or to a value per pixel."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class PreActBlock(nn.Module):
    """BN, ReLU, conv, twice; the shortcut of a block that changes shape starts after the first BN and ReLU."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.shortcut: nn.Conv2d | None = None
        if stride != 1 or in_channels != out_channels:
            self.shortcut = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        active = torch.relu(self.bn1(x))
        skip = x if self.shortcut is None else self.shortcut(active)
        out = self.conv1(active)
        out = self.conv2(self.dropout(torch.relu(self.bn2(out))))
        return out + skip


class WRN(nn.Module):
    """WRN-depth-width (Zagoruyko and Komodakis, "Wide Residual Networks", BMVC 2016).

    Args:
        depth: 6 n + 4 for n blocks a stage, such as 16, 28 or 40.
        width: factor on the channels 16, 32, 64 of the three stages.
        dense: one output vector per pixel: no stride, and a 1x1 conv in place of pooling and linear layer.

    Shapes:
        (N, in_channels, H, W) -> (N, num_classes), or (N, num_classes, H, W) where dense.

    Raises:
        ValueError: a depth that is not 6 n + 4.
    """

    def __init__(
        self,
        depth: int = 16,
        width: int = 1,
        num_classes: int = 10,
        in_channels: int = 3,
        dropout: float = 0.0,
        dense: bool = False,
    ) -> None:
        super().__init__()
        blocks, rest = divmod(depth - 4, 6)
        if blocks < 1 or rest:
            raise ValueError(f"depth {depth}: WRN has 6 n + 4 layers; give 10, 16, 22, 28, 40, ...")
        stride = 1 if dense else 2
        self.dense = dense
        self.conv = nn.Conv2d(in_channels, 16, 3, padding=1, bias=False)
        self.stage1 = _stage(16, 16 * width, blocks, 1, dropout)
        self.stage2 = _stage(16 * width, 32 * width, blocks, stride, dropout)
        self.stage3 = _stage(32 * width, 64 * width, blocks, stride, dropout)
        self.bn = nn.BatchNorm2d(64 * width)
        self.head = nn.Conv2d(64 * width, num_classes, 1) if dense else nn.Linear(64 * width, num_classes)
        _initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stage3(self.stage2(self.stage1(self.conv(x))))
        x = torch.relu(self.bn(x))
        return self.head(x if self.dense else x.mean((-2, -1)))


def _stage(in_channels: int, out_channels: int, blocks: int, stride: int, dropout: float) -> nn.Sequential:
    first = PreActBlock(in_channels, out_channels, stride, dropout)
    return nn.Sequential(first, *(PreActBlock(out_channels, out_channels, 1, dropout) for _ in range(blocks - 1)))


def _initialise(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)
