"""Residual networks for images, CIFAR ResNet-20 and kin and ResNet-18: (N, in_channels, H, W) to class scores."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PadShortcut(nn.Module):
    """He et al.'s option A: every second pixel, and new channels filled with zeros; no parameters."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.before = (out_channels - in_channels) // 2
        self.after = out_channels - in_channels - self.before

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.before, self.after))


class BasicBlock(nn.Module):
    """Conv, BN, ReLU, conv, BN, beside a shortcut that is the identity where `downsample` is None."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, downsample: nn.Module | None) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        skip = x if self.downsample is None else self.downsample(x)
        out = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(out)) + skip)


class CifarResNet(nn.Module):
    """The CIFAR-10 ResNet of He et al., "Deep Residual Learning" (CVPR 2016), section 4.2: channels 16, 32, 64.

    The parameter names are those of the widely used CIFAR checkpoints (`conv1`, `layer2.0.bn1`, `linear`).

    Args:
        depth: 6 n + 2 for n blocks a stage, such as 20, 32, 44, 56 or 110.

    Shapes:
        (N, in_channels, H, W) -> (N, num_classes).

    Raises:
        ValueError: a depth that is not 6 n + 2.
    """

    def __init__(self, depth: int = 20, num_classes: int = 10, in_channels: int = 3) -> None:
        super().__init__()
        blocks, rest = divmod(depth - 2, 6)
        if blocks < 1 or rest:
            raise ValueError(f"depth {depth}: this ResNet has 6 n + 2 layers; give 8, 14, 20, 32, 44, 56, ...")
        self.conv1 = nn.Conv2d(in_channels, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = _layer(16, 16, blocks, 1, None)
        self.layer2 = _layer(16, 32, blocks, 2, PadShortcut(16, 32))
        self.layer3 = _layer(32, 64, blocks, 2, PadShortcut(32, 64))
        self.linear = nn.Linear(64, num_classes)
        _initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(x.mean((-2, -1)))


class ResNet18(nn.Module):
    """ResNet-18 with projection shortcuts (He et al., option B); parameter names as in torchvision.

    Args:
        width: channels of the first of four stages; each stage doubles them.
        stem: "imagenet": a strided 7x7 conv and pooling, a quarter of the size; "cifar": one 3x3 conv, full size.

    Shapes:
        (N, in_channels, H, W) -> (N, num_classes).

    Raises:
        ValueError: an unknown stem.
    """

    def __init__(self, num_classes: int = 10, in_channels: int = 3, width: int = 64, stem: str = "imagenet") -> None:
        super().__init__()
        if stem not in ("imagenet", "cifar"):
            raise ValueError(f"stem {stem!r}: give 'imagenet' or 'cifar'")
        large = stem == "imagenet"
        kernel, stride = (7, 2) if large else (3, 1)
        self.conv1 = nn.Conv2d(in_channels, width, kernel, stride, padding=kernel // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1) if large else nn.Identity()
        self.layer1 = _layer(width, width, 2, 1, None)
        self.layer2 = _layer(width, 2 * width, 2, 2, _projection(width, 2 * width))
        self.layer3 = _layer(2 * width, 4 * width, 2, 2, _projection(2 * width, 4 * width))
        self.layer4 = _layer(4 * width, 8 * width, 2, 2, _projection(4 * width, 8 * width))
        self.fc = nn.Linear(8 * width, num_classes)
        _initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(torch.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(x.mean((-2, -1)))


def _layer(
    in_channels: int, out_channels: int, blocks: int, stride: int, downsample: nn.Module | None
) -> nn.Sequential:
    first = BasicBlock(in_channels, out_channels, stride, downsample)
    return nn.Sequential(first, *(BasicBlock(out_channels, out_channels, 1, None) for _ in range(blocks - 1)))


def _projection(in_channels: int, out_channels: int) -> nn.Sequential:
    conv = nn.Conv2d(in_channels, out_channels, 1, stride=2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(out_channels))


def _initialise(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
