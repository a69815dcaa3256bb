"""torchcrepe's pitch network on windows of sound: the network as a class, generated tones as data, pitch as the task.

    dashfx check benchmarks/crepe.py:Tiny --input 1x1024 --checkpoint tiny.pth

`tiny.pth` lies in the `assets` folder of the torchcrepe package (Kim et al., "CREPE", ICASSP 2018; 16 kHz, one window
of 1024 samples, 360 bins of 20 cents).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torchcrepe import Crepe
from torchmetrics import MeanMetric

from dashfx import Data, Task

RATE, SAMPLES, BINS, CENTS = 16000, 1024, 360, 20
LOWEST = 10 * 2 ** (1997.3794084376191 / 1200)  # Hz, of the first bin
WIDTH = 25  # cents, the deviation of CREPE's blurred targets
NEAR = 2  # bins: raw pitch accuracy counts what is within half a semitone


class Tiny(Crepe):
    """The network that takes (N, 1, 1024) and gives (N, 360) probabilities."""

    def __init__(self) -> None:
        super().__init__("tiny")

    def forward(self, x: Tensor) -> Any:
        return super().forward(x[:, 0])


def tones() -> dict[str, np.ndarray]:
    """Harmonic tones of 50 to 1000 Hz in noise, and the blurred bin of each."""
    rng = np.random.default_rng(0)
    arrays = {}
    for part, n in {"train": 2000, "valid": 500, "test": 1000}.items():
        pitch = np.exp(rng.uniform(np.log(50), np.log(1000), n))
        cents = 1200 * np.log2(pitch / LOWEST)[:, None] - CENTS * np.arange(BINS)
        arrays[f"y_{part}"] = np.exp(-(cents**2) / (2 * WIDTH**2)).astype(np.float32)
        arrays[f"x_{part}"] = np.stack([tone(each, rng) for each in pitch])
    return arrays


def tone(pitch: float, rng: np.random.Generator) -> np.ndarray:
    """(1024,) of mean 0 and deviation 1: up to 20 falling harmonics of random phase, 0 to 20 dB above white noise."""
    order = np.arange(1, min(20, int(RATE / 2 / pitch)) + 1)
    strength = rng.uniform(0.2, 1, len(order)) / order ** rng.uniform(0.5, 1.5)
    angle = 2 * np.pi * pitch / RATE * order[:, None] * np.arange(SAMPLES) + rng.uniform(0, 2 * np.pi, (len(order), 1))
    clean = strength @ np.sin(angle)
    noisy = clean + clean.std() * 10 ** (-rng.uniform(0, 20) / 20) * rng.standard_normal(SAMPLES)
    return ((noisy - noisy.mean()) / noisy.std()).astype(np.float32)


def pitch(data: Data) -> Task:
    """Cross-entropy of every bin; the share of windows whose strongest bin is within 50 cents of the truth."""
    return Task("pitch", F.binary_cross_entropy, MeanMetric, "accuracy", maximise=True, kind="dense", prepare=hits)


def hits(output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    near = (output.argmax(1) - target.argmax(1)).abs() <= NEAR
    return near.float(), torch.ones(len(near), device=near.device)
