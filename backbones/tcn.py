"""The temporal convolutional network: (N, in_channels, L) to class scores or to one output per step, causally."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

# Both compute w = g v / ||v||; the hook is PyTorch's older form, kept because many models and checkpoints carry it.
WEIGHT_NORMS: dict[str, Callable[[nn.Conv1d], nn.Module]] = {
    "parametrization": nn.utils.parametrizations.weight_norm,
    "hook": nn.utils.weight_norm,
    "none": lambda conv: conv,
}
HEADS = ("last", "mean", "dense")


class Chomp(nn.Module):
    """Drops the last `size` steps: what a conv padded on both sides computed from later inputs."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        return x[..., : -self.size].contiguous()


class TemporalBlock(nn.Module):
    """Two causal convs of one dilation, each with ReLU and dropout, beside a shortcut."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, dilation: int, dropout: float, weight_norm: str
    ) -> None:
        super().__init__()
        norm, padding = WEIGHT_NORMS[weight_norm], (kernel - 1) * dilation
        self.conv1 = norm(nn.Conv1d(in_channels, out_channels, kernel, padding=padding, dilation=dilation))
        self.conv2 = norm(nn.Conv1d(out_channels, out_channels, kernel, padding=padding, dilation=dilation))
        self.chomp1, self.chomp2 = Chomp(padding), Chomp(padding)
        self.dropout = nn.Dropout(dropout)
        self.shortcut = nn.Identity() if in_channels == out_channels else nn.Conv1d(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        out = self.dropout(torch.relu(self.chomp1(self.conv1(x))))
        out = self.dropout(torch.relu(self.chomp2(self.conv2(out))))
        return torch.relu(out + self.shortcut(x))


class TCN(nn.Module):
    """Blocks of dilation 1, 2, 4, ... (Bai, Kolter and Koltun, arXiv 1803.01271).

    Args:
        channels: output channels of each block.
        kernel: taps of every conv, at least 2.
        weight_norm: "parametrization", "hook" (PyTorch's older form) or "none".
        head: what the linear layer sees: the "last" step, the "mean" over steps, or every step ("dense").

    Shapes:
        (N, in_channels, L) -> (N, num_classes), or (N, num_classes, L) where dense.

    Raises:
        ValueError: an unknown head or weight norm, no channels, or a kernel below 2.
    """

    def __init__(
        self,
        num_classes: int = 10,
        in_channels: int = 1,
        channels: Sequence[int] = (32, 32, 32, 32),
        kernel: int = 7,
        dropout: float = 0.0,
        weight_norm: str = "parametrization",
        head: str = "last",
    ) -> None:
        super().__init__()
        if weight_norm not in WEIGHT_NORMS:
            raise ValueError(f"weight_norm {weight_norm!r}: give one of {', '.join(WEIGHT_NORMS)}")
        if head not in HEADS:
            raise ValueError(f"head {head!r}: give one of {', '.join(HEADS)}")
        if not channels or kernel < 2:
            raise ValueError(f"channels {channels!r}, kernel {kernel}: a TCN needs a block and kernels of at least 2")
        self.head = head
        self.blocks = nn.Sequential()
        for i, out_channels in enumerate(channels):
            self.blocks.append(TemporalBlock(in_channels, out_channels, kernel, 2**i, dropout, weight_norm))
            in_channels = out_channels
        self.linear = nn.Linear(in_channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(x)
        if self.head == "dense":
            return self.linear(x.transpose(1, 2)).transpose(1, 2)
        return self.linear(x[..., -1] if self.head == "last" else x.mean(-1))
