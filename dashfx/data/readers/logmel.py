"""Log-mel spectrogram of a waveform."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def log_mel(
    wave: Tensor, rate: int, *, mels: int = 96, n_fft: int = 1920, window: float = 0.03, hop: float = 0.01
) -> Tensor:
    """(mels, frames) in decibels, at most 80 below the loudest, of a waveform (samples,).

    Args:
        rate: samples a second.
        window, hop: in seconds; a frame's spectrum is that of a Hann window padded to `n_fft` samples.
    """
    size = int(rate * window)
    spectrum = torch.stft(
        wave.float(),
        n_fft,
        hop_length=int(rate * hop),
        win_length=size,
        window=torch.hann_window(size),
        pad_mode="constant" if len(wave) <= n_fft // 2 else "reflect",
        return_complex=True,
    )
    power = mel_filters(mels, n_fft, rate) @ spectrum.abs().square()
    decibels = 10 * power.clamp_min(1e-10).log10()
    return decibels.clamp_min(float(decibels.max()) - 80)


def fft_size(rate: int, window: float = 0.03) -> int:
    """The smallest FFT, of a power of two, that holds a window of so many seconds."""
    return 2 ** math.ceil(math.log2(rate * window))


def mel_filters(mels: int, n_fft: int, rate: int) -> Tensor:
    """(mels, n_fft // 2 + 1) triangles, evenly spread from 0 to rate / 2 on the scale 2595 log10(1 + f / 700)."""
    top = 2595 * torch.log10(torch.tensor(1 + rate / 2 / 700))
    edges = 700 * (10 ** (torch.linspace(0, float(top), mels + 2) / 2595) - 1)
    frequencies = torch.linspace(0, rate / 2, n_fft // 2 + 1)
    rising = (frequencies - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - frequencies) / (edges[2:] - edges[1:-1])[:, None]
    return torch.minimum(rising, falling).clamp_min(0)
