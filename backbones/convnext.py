"""ConvNeXt: (N, in_channels, H, W) to class scores through depthwise 7x7 convs and channels-last layers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of (N, C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ConvNeXtBlock(nn.Module):
    """Depthwise 7x7 conv, LayerNorm, two linear layers over channels; scaled per channel, added to the input."""

    def __init__(self, channels: int, layer_scale: float) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.expand = nn.Linear(channels, 4 * channels)
        self.act = nn.GELU()
        self.contract = nn.Linear(4 * channels, channels)
        self.scale = nn.Parameter(torch.full((channels,), layer_scale))

    def forward(self, x: Tensor) -> Tensor:
        out = self.norm(self.conv(x).permute(0, 2, 3, 1))  # (N, H, W, C), where a 1x1 conv is a linear layer
        out = self.scale * self.contract(self.act(self.expand(out)))
        return x + out.permute(0, 3, 1, 2)


class ConvNeXt(nn.Module):
    """ConvNeXt (Liu et al., "A ConvNet for the 2020s", CVPR 2022), by default of the "atto" size.

    Args:
        depths: blocks of each stage.
        widths: channels of each stage.
        patch: size and stride of the first conv; 4 for large images, 1 or 2 for small ones.
        layer_scale: start value of the factor on each block's output.

    Shapes:
        (N, in_channels, H, W) -> (N, num_classes), with H and W of at least patch * 2 ** (stages - 1).

    Raises:
        ValueError: depths and widths of different or no length.
    """

    def __init__(
        self,
        num_classes: int = 10,
        in_channels: int = 3,
        depths: Sequence[int] = (2, 2, 6, 2),
        widths: Sequence[int] = (40, 80, 160, 320),
        patch: int = 4,
        layer_scale: float = 1e-6,
    ) -> None:
        super().__init__()
        if len(depths) != len(widths) or not depths:
            raise ValueError(f"depths {tuple(depths)}, widths {tuple(widths)}: give one of each per stage")
        self.stem = nn.Sequential(nn.Conv2d(in_channels, widths[0], patch, patch), ChannelNorm(widths[0], eps=1e-6))
        self.stages = nn.Sequential()
        for i, (depth, width) in enumerate(zip(depths, widths, strict=True)):
            stage = nn.Sequential()
            if i > 0:
                stage.append(ChannelNorm(widths[i - 1], eps=1e-6))
                stage.append(nn.Conv2d(widths[i - 1], width, 2, 2))
            stage.extend(ConvNeXtBlock(width, layer_scale) for _ in range(depth))
            self.stages.append(stage)
        self.norm = nn.LayerNorm(widths[-1], eps=1e-6)
        self.head = nn.Linear(widths[-1], num_classes)
        _initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stages(self.stem(x))
        return self.head(self.norm(x.mean((-2, -1))))


def _initialise(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
