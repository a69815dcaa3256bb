"""Recipes of the benchmark: how every network is trained, and the one-at-a-time changes of a small study of recipes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from dashfx.config.search import FitConfig
from dashfx.train.recipe import Groups

EPOCH_STEPS = 50  # an "epoch" is so many steps on every set, so that all are validated equally often
EPOCHS = 30  # E: 1,500 steps


def fused(groups: Groups, config: FitConfig) -> torch.optim.Optimizer:
    """AdamW as one operation: the same as `adamw` but for rounding, and a seventh less time of a step here."""
    return torch.optim.AdamW(groups, lr=config.lr, betas=(config.momentum, 0.999), fused=True)


def cool_down(progress: float, config: FitConfig) -> float:
    """Rises over the first 5 %, stays, and falls to zero in a straight line over the last 25 %."""
    return min(progress / 0.05, 1.0, (1 - progress) / 0.25)


BASE = {"batch_size": 16, "optimizer": f"{Path(__file__)}:fused"}


@dataclass(frozen=True)
class Recipe:
    """Options of retraining and of the loss that differ from the benchmark's recipe."""

    options: Mapping[str, Any] = field(default_factory=dict)
    smoothing: float = 0.0


STUDY = {
    "rate 1e-3": Recipe({"lr": 1e-3}),
    "rate 1e-2": Recipe({"lr": 1e-2}),
    "batch 64": Recipe({"batch_size": 64}),
    "smoothing 0.1": Recipe(smoothing=0.1),
    "average 0.999": Recipe({"ema": 0.999}),
    "cool-down": Recipe({"schedule": f"{Path(__file__)}:cool_down"}),
}
