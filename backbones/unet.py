"""The U-Net in 1-D and 2-D: (N, in_channels, *size) to (N, num_classes, *size), for sizes that need not divide."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CONV: dict[int, type[nn.Conv1d] | type[nn.Conv2d]] = {1: nn.Conv1d, 2: nn.Conv2d}
NORM: dict[int, type[nn.BatchNorm1d] | type[nn.BatchNorm2d]] = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d}
POOL: dict[int, type[nn.MaxPool1d] | type[nn.MaxPool2d]] = {1: nn.MaxPool1d, 2: nn.MaxPool2d}


class DoubleConv(nn.Module):
    """Conv, BN, ReLU, twice, at one size."""

    def __init__(self, in_channels: int, out_channels: int, ndim: int) -> None:
        super().__init__()
        conv, norm = CONV[ndim], NORM[ndim]
        self.conv1, self.bn1 = conv(in_channels, out_channels, 3, padding=1, bias=False), norm(out_channels)
        self.conv2, self.bn2 = conv(out_channels, out_channels, 3, padding=1, bias=False), norm(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(x)))


class Up(nn.Module):
    """Resizes to the skip's size, halves the channels, joins the skip."""

    def __init__(self, in_channels: int, ndim: int) -> None:
        super().__init__()
        self.reduce = CONV[ndim](in_channels, in_channels // 2, 1)
        self.join = DoubleConv(in_channels, in_channels // 2, ndim)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        # At every size, without a branch that would stop a tracer; where the size divides, this is plain doubling
        x = F.interpolate(self.reduce(x), size=skip.shape[2:], mode="nearest")
        return self.join(torch.cat([skip, x], dim=1))


class UNet(nn.Module):
    """The U-Net of Ronneberger, Fischer and Brox (MICCAI 2015), padded, with BN and nearest-neighbour upsampling.

    Args:
        num_classes: output channels: classes per pixel, or values to regress.
        width: channels at full size, doubled at each of `depth` halvings.
        ndim: 1 for signals, 2 for images.

    Shapes:
        (N, in_channels, *size) -> (N, num_classes, *size), with every size of at least 2 ** depth.

    Raises:
        ValueError: another number of axes, or no halving.
    """

    def __init__(
        self, num_classes: int = 1, in_channels: int = 1, width: int = 16, depth: int = 3, ndim: int = 2
    ) -> None:
        super().__init__()
        if ndim not in CONV or depth < 1:
            raise ValueError(f"ndim {ndim}, depth {depth}: a U-Net here has 1 or 2 axes and at least one halving")
        self.pool = POOL[ndim](2)
        self.stem = DoubleConv(in_channels, width, ndim)
        self.down = nn.ModuleList(DoubleConv(width << i, width << (i + 1), ndim) for i in range(depth))
        self.up = nn.ModuleList(Up(width << (i + 1), ndim) for i in reversed(range(depth)))
        self.head = CONV[ndim](width, num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        skips = []
        for down in self.down:
            skips.append(x)
            x = down(self.pool(x))
        for up in self.up:
            x = up(x, skips.pop())
        return self.head(x)
