"""The Fourier neural operator in 1-D and 2-D: (N, in_channels, *size) to (N, num_classes, *size)."""

from __future__ import annotations

from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SpectralConv(nn.Module):
    """A linear map over channels for each of the lowest `modes` frequencies; higher frequencies become zero."""

    def __init__(self, channels: int, modes: int, ndim: int) -> None:
        super().__init__()
        self.modes, self.ndim = modes, ndim
        # Positive and negative frequencies on every axis but the last, where a real signal's spectrum is half.
        # Real pairs, not a complex dtype, so that optimisers, clipping and file formats need no special case.
        shape = (2 ** (ndim - 1), channels, channels, *([modes] * ndim), 2)  # (corners, in, out, *modes, re and im)
        self.weight = nn.Parameter(torch.randn(shape) / channels)

    def forward(self, x: Tensor) -> Tensor:
        size, axes = x.shape[2:], tuple(range(2, 2 + self.ndim))
        # FFTs of half precision need sizes that are powers of two, and bfloat16 has none
        precision = torch.float64 if x.dtype == torch.float64 else torch.float32
        spectrum = torch.fft.rfftn(x.to(precision), dim=axes)
        weight = torch.view_as_complex(self.weight.to(precision))
        # Fewer modes where the input is too small to hold them
        kept = [min(self.modes, n // 2) for n in size[:-1]] + [min(self.modes, spectrum.shape[-1])]
        out = torch.zeros_like(spectrum)
        for corner, negative in enumerate(product((False, True), repeat=self.ndim - 1)):
            taps, low, mixed = weight[corner], spectrum, out  # views on this corner's frequencies, axis by axis
            for axis, (m, minus) in enumerate(zip(kept, (*negative, False), strict=True), start=2):
                start = spectrum.shape[axis] - m if minus else 0
                taps, low, mixed = taps.narrow(axis, 0, m), low.narrow(axis, start, m), mixed.narrow(axis, start, m)
            mixed.copy_(torch.einsum("ni...,io...->no...", low, taps))
        return torch.fft.irfftn(out, s=size, dim=axes).to(x.dtype)


class FNO(nn.Module):
    """The Fourier neural operator (Li et al., ICLR 2021): lift, blocks of spectral conv beside a 1x1 conv, project.

    Coordinates are not added; give them as input channels where the task needs them. `dashfx.export` writes
    the complex spectrum as pairs of real numbers, which PyTorch's own ONNX exporter does not.

    Args:
        modes: lowest frequencies kept per axis.
        depth: spectral layers.
        ndim: 1 for signals, 2 for images.

    Shapes:
        (N, in_channels, *size) -> (N, num_classes, *size), with every size of at least 2.

    Raises:
        ValueError: another number of axes, or no mode or layer.
    """

    def __init__(
        self,
        num_classes: int = 1,
        in_channels: int = 1,
        width: int = 32,
        modes: int = 12,
        depth: int = 4,
        ndim: int = 2,
    ) -> None:
        super().__init__()
        if ndim not in (1, 2) or modes < 1 or depth < 1:
            raise ValueError(
                f"ndim {ndim}, modes {modes}, depth {depth}: give 1 or 2 axes and at least one of the others"
            )
        conv = nn.Conv1d if ndim == 1 else nn.Conv2d
        self.lift = conv(in_channels, width, 1)
        self.spectral = nn.ModuleList(SpectralConv(width, modes, ndim) for _ in range(depth))
        self.local = nn.ModuleList(conv(width, width, 1) for _ in range(depth))
        self.project = nn.Sequential(conv(width, 4 * width, 1), nn.GELU(), conv(4 * width, num_classes, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.lift(x)
        for i, (spectral, local) in enumerate(zip(self.spectral, self.local, strict=True)):
            x = spectral(x) + local(x)
            if i + 1 < len(self.spectral):  # none after the last layer, as in the authors' model
                x = F.gelu(x)
        return self.project(x)
