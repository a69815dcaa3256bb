"""Preprocessing as a module: raw rows go in, what the model was trained on comes out, as dashfx's reader makes it."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dashfx.data.form import RawForm
from dashfx.data.normalisation import Normalisation
from dashfx.data.readers.logmel import fft_size, mel_filters

FLOOR, RANGE = 1e-10, 80.0  # the least power, and decibels below the loudest, as `log_mel` has them


class Preprocess(nn.Module):
    """Raw rows of a form, batch first, to (B, C, *size) as `Arrays` gives them, in standard operators.

    1. Numbers become float32; float64 stays until a large offset is gone.
    2. Channels are moved to the front, or get an axis.
    3. Values are multiplied by the form's scale; waves become log-mel spectrograms.
    4. (x - mean) / std for each channel, or for each position; left out where that changes nothing.
    """

    mean: Tensor
    rest: Tensor
    std: Tensor

    def __init__(self, form: RawForm, normalisation: Normalisation) -> None:
        super().__init__()
        self.form = form
        mean, std = (torch.tensor(values, dtype=torch.float64) for values in (normalisation.mean, normalisation.std))
        self.normalises = bool((mean != 0).any() or (std != 1).any())
        axes = 2 if form.bands else len(form.shape) - (form.layout != "none")
        shape = (-1, *(normalisation.size or (1,) * axes))
        # Two float32 hold a mean as exactly as float64 does, and modules are exported in float32.
        for name, values in (("mean", mean), ("rest", mean - mean.float().double()), ("std", std)):
            self.register_buffer(name, values.float().reshape(shape))
        self.log_mel = LogMel(form) if form.bands else None

    def forward(self, rows: Tensor) -> Tensor:
        wide = self.form.dtype == "float64"
        x = rows.double() if wide else rows.to(self.mean.dtype)
        if self.form.layout == "last":
            x = x.movedim(-1, 1)
        elif self.form.layout == "none":
            x = x.unsqueeze(1)
        if self.form.scale != 1.0:
            x = x * self.form.scale
        if self.log_mel is not None:
            x = self.log_mel(x)
        if self.normalises and wide:
            x = (x - (self.mean.double() + self.rest.double())) / self.std.double()
        elif self.normalises:
            x = (x - self.mean) / self.std
        return x.to(self.mean.dtype)


class LogMel(nn.Module):
    """`dashfx.data.readers.logmel.log_mel` of waves (B, C, samples): (B, C, bands, frames).

    The Fourier transform of each frame is a conv with windowed cosines and sines, hop samples apart, so that every
    execution provider takes it; in float32 it is as near to the exact one as an FFT is.
    """

    waves: Tensor
    filters: Tensor

    def __init__(self, form: RawForm, window: float = 0.03, hop: float = 0.01) -> None:
        super().__init__()
        self.form, self.hop = form, int(form.rate * hop)
        size, n_fft = int(form.rate * window), fft_size(form.rate)
        self.left = (n_fft - size) // 2  # a window that is shorter than the transform stands in its middle
        self.pad, self.mode = n_fft // 2, "constant" if form.shape[-1] <= n_fft // 2 else "reflect"
        self.right = n_fft - self.left - size
        at = torch.arange(self.left, self.left + size, dtype=torch.float64)
        turns = torch.arange(n_fft // 2 + 1, dtype=torch.float64)[:, None] * at % n_fft / n_fft
        shape = torch.hann_window(size, dtype=torch.float64)
        waves = torch.cat([torch.cos(2 * math.pi * turns), -torch.sin(2 * math.pi * turns)]) * shape
        self.register_buffer("waves", waves[:, None].float())  # (2 * frequencies, 1, window)
        self.register_buffer("filters", mel_filters(form.bands, n_fft, form.rate))  # (bands, frequencies)

    def forward(self, x: Tensor) -> Tensor:
        channels = x.shape[1]
        x = F.pad(x, (self.pad, self.pad), mode=self.mode)
        x = x[..., self.left : x.shape[-1] - self.right]  # what no window reaches
        x = x.reshape(-1, 1, x.shape[-1]) if channels > 1 else x
        real, imaginary = F.conv1d(x, self.waves, stride=self.hop).square().chunk(2, 1)
        decibels = 10 * (self.filters @ (real + imaginary)).clamp_min(FLOOR).log10()
        decibels = torch.maximum(decibels, decibels.amax((-2, -1), keepdim=True) - RANGE)
        return decibels.unsqueeze(1) if channels == 1 else decibels.unflatten(0, (-1, channels))


def noise(form: RawForm, normalisation: Normalisation, rows: int, seed: int = 0) -> Tensor:
    """Raw rows that could be of the data, where these are not here."""
    generator = torch.Generator().manual_seed(seed)
    if form.dtype == "uint8":
        return torch.randint(0, 256, (rows, *form.shape), generator=generator, dtype=torch.uint8)
    mean, std = (sum(values) / len(values) for values in (normalisation.mean, normalisation.std))
    if form.bands:
        mean, std = 0.0, 0.1
    x = torch.randn((rows, *form.shape), generator=generator, dtype=torch.float64) * std + mean
    return x if form.dtype == "float64" else x.float()
