"""Networks of the deploying benchmark: five of dashfx.backbones, and three ordinary ones that are written here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.deploy.tasks import Task, digits, motifs, outlines
from dashfx.backbones import TCN, WRN, ConvNeXt, ResNet18, UNet, WRN1d


class Inverted(nn.Module):
    """1x1 conv to `expand` times the channels, depthwise 3x3, 1x1 back; added to the input where shapes agree."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, expand: int) -> None:
        super().__init__()
        inner = in_channels * expand
        layers: list[nn.Module] = [] if expand == 1 else [*_normed(in_channels, inner, 1), nn.ReLU6()]
        layers += [*_normed(inner, inner, 3, stride, groups=inner), nn.ReLU6(), *_normed(inner, out_channels, 1)]
        self.layers, self.adds = nn.Sequential(*layers), stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x) if self.adds else self.layers(x)


class MobileNetV2(nn.Sequential):
    """MobileNetV2 (Sandler et al., CVPR 2018), less deep, its first stride left out for small images.

    Args:
        blocks: of each stage: expansion, channels, blocks, stride of the first.
    """

    def __init__(
        self,
        num_classes: int = 10,
        in_channels: int = 3,
        blocks: Sequence[tuple[int, int, int, int]] = (
            *((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 2, 2), (6, 64, 2, 2), (6, 96, 1, 1)),
        ),
    ) -> None:
        layers, channels = [*_normed(in_channels, 32, 3), nn.ReLU6()], 32
        for expand, width, count, stride in blocks:
            for i in range(count):
                layers.append(Inverted(channels, width, stride if i == 0 else 1, expand))
                channels = width
        head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(640, num_classes))
        super().__init__(*layers, *_normed(channels, 640, 1), nn.ReLU6(), *head)


def _normed(
    in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1
) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
    conv = nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False)
    return conv, nn.BatchNorm2d(out_channels)


class InceptionBlock(nn.Module):
    """A bottleneck, three convs of different kernels and a pooled 1x1 conv, joined, with BN and ReLU."""

    def __init__(self, in_channels: int, filters: int, kernels: Sequence[int]) -> None:
        super().__init__()
        self.bottleneck = nn.Conv1d(in_channels, filters, 1, bias=False)
        self.convs = nn.ModuleList(nn.Conv1d(filters, filters, k, padding=k // 2, bias=False) for k in kernels)
        self.pooled = nn.Conv1d(in_channels, filters, 1, bias=False)
        self.bn = nn.BatchNorm1d(filters * (len(kernels) + 1))

    def forward(self, x: Tensor) -> Tensor:
        inner = self.bottleneck(x)
        parts = [conv(inner) for conv in self.convs]
        return torch.relu(self.bn(torch.cat([*parts, self.pooled(F.max_pool1d(x, 3, 1, 1))], 1)))


class InceptionTime(nn.Module):
    """InceptionTime (Fawaz et al., DMKD 2020): six blocks, every third with a shortcut; kernels odd, to be centred."""

    def __init__(
        self, num_classes: int = 10, in_channels: int = 1, filters: int = 32, kernels: Sequence[int] = (39, 19, 9)
    ) -> None:
        super().__init__()
        width = filters * (len(kernels) + 1)
        sizes = (in_channels, width, width, width, width, width)
        self.blocks = nn.ModuleList(InceptionBlock(size, filters, kernels) for size in sizes)
        self.shortcuts = nn.ModuleList(
            nn.Sequential(nn.Conv1d(size, width, 1, bias=False), nn.BatchNorm1d(width)) for size in (in_channels, width)
        )
        self.head = nn.Linear(width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        start = x
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i % 3 == 2:
                x = start = torch.relu(x + self.shortcuts[i // 3](start))
        return self.head(x.mean(-1))


@dataclass(frozen=True)
class Model:
    """A network, the shape of its rows, and what it is trained on for so many epochs."""

    make: Callable[[], nn.Module]
    shape: tuple[int, ...]
    task: Callable[[], Task]
    epochs: int


def _image(make: Callable[[], nn.Module], epochs: int, size: int = 32) -> Model:
    return Model(make, (3, size, size), lambda: digits(size), epochs)


def _series(make: Callable[[], nn.Module], epochs: int, length: int = 256) -> Model:
    return Model(make, (1, length), lambda: motifs(length), epochs)


MODELS = {
    "WRN-16-1": _image(lambda: WRN(16, 1), 3),
    "WRN-1d": _series(lambda: WRN1d(), 8),
    "TCN": _series(lambda: TCN(), 8),
    "ConvNeXt": _image(lambda: ConvNeXt(patch=2, layer_scale=1.0), 4),
    "U-Net": Model(lambda: UNet(), (1, 64, 64), lambda: outlines(64), 1),
    "MobileNetV2": _image(lambda: MobileNetV2(), 4),
    "ResNet-18": _image(lambda: ResNet18(), 2, 64),
    "Inception-1d": _series(lambda: InceptionTime(), 2),
}
