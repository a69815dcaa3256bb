"""How the learning rate and other settings move with the share of training that is done: pure functions."""

from __future__ import annotations

import math

from dashfx.config.run import FitConfig


def learning_rate(config: FitConfig, progress: float) -> float:
    """The learning rate when `progress` (0 to 1) of the fit is done.

    "onecycle" rises from lr/25 over the first 30 % and falls along a cosine to lr/10000 (Smith and Topin, 2018);
    "cosine" falls to zero; "steps" multiplies by 0.2 after each milestone.
    """
    if config.schedule == "onecycle":
        return config.lr * _one_cycle(progress)
    if config.schedule == "cosine":
        return config.lr * _cosine(progress)
    if config.schedule == "steps":
        return config.lr * 0.2 ** sum(progress >= milestone for milestone in config.milestones)
    return config.lr


def geometric(start: float, end: float, progress: float) -> float:
    """From start to end by equal factors."""
    return start * (end / start) ** min(max(progress, 0.0), 1.0)


def fade(progress: float, share: float) -> float:
    """1 at the start, 0 from `share` on, along a cosine, so that it starts and ends without a jump."""
    return _cosine(progress / share) if share > 0 and progress < share else 0.0


def _cosine(progress: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * min(max(progress, 0.0), 1.0)))


def _one_cycle(progress: float, rise: float = 0.3, start: float = 1 / 25, end: float = 1e-4) -> float:
    if progress < rise:
        return 1 - (1 - start) * _cosine(progress / rise)
    return end + (1 - end) * _cosine((progress - rise) / (1 - rise))
