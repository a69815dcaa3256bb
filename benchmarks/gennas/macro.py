"""Eight digits of NAS-Bench-Macro go in; the network comes out, and the published accuracies.

The space is defined in Su et al., "Prioritized Architecture Sampling with Monto-Carlo Tree Search" (CVPR 2021): eight
layers, each an identity (0) or an inverted residual with 3x3 taps and expansion 3 (1) or 5x5 taps and expansion 6 (2).
"""

from __future__ import annotations

import json
from pathlib import Path

from torch import Tensor, nn

CHANNELS = (1, 1, 2, 2, 2, 4, 4, 4)  # times the width
STRIDES = (2, 1, 2, 1, 1, 2, 1, 1)
BLOCKS = {"1": (3, 3), "2": (5, 6)}  # kernel and expansion


def network(arch: str, width: int = 64, num_classes: int = 10) -> nn.Module:
    """The stem at 32 channels, the eight layers, a 1x1 conv to 1280 channels and the classifier, for width 64.

    Raises:
        ValueError: not eight digits from 0 to 2.
    """
    if len(arch) != len(CHANNELS) or not set(arch) <= set("012"):
        raise ValueError(f"{arch!r} is no architecture of NAS-Bench-Macro")
    before, last = width // 2, 20 * width
    layers: list[nn.Module] = _conv(before, 3, 3)
    for digit, factor, stride in zip(arch, CHANNELS, STRIDES, strict=True):
        layers.append(_layer(digit, before, factor * width, stride))
        before = factor * width
    layers += [*_conv(last, before, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(last, num_classes))


class InvertedResidual(nn.Module):
    """A 1x1 conv to more channels, a depthwise conv, a 1x1 conv back; added to the input where shapes agree."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, kernel: int, expansion: int) -> None:
        super().__init__()
        hidden = in_channels * expansion
        self.body = nn.Sequential(
            *_conv(hidden, in_channels, 1),
            *_conv(hidden, hidden, kernel, stride, hidden),
            *_conv(out_channels, hidden, 1)[:2],
        )
        self.residual = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x) if self.residual else self.body(x)


def accuracies(path: Path) -> dict[str, float]:
    """Architecture -> test accuracy in percent, mean of three seeds, from `nasbench_macro_cifar10.json`."""
    return {arch: facts["mean_acc"] for arch, facts in json.loads(path.read_text()).items()}


def _layer(digit: str, in_channels: int, out_channels: int, stride: int) -> nn.Module:
    if digit != "0":
        return InvertedResidual(in_channels, out_channels, stride, *BLOCKS[digit])
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    return nn.Sequential(*_conv(out_channels, in_channels, 1, stride)[:2])  # an identity that changes shape


def _conv(out_channels: int, in_channels: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    conv = nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(out_channels), nn.ReLU6()]
