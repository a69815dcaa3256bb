"""Schedules of the learning rate and other settings, by the share of training that is done: pure functions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated

from pydantic import Field

from dashfx.config.search import AUTO, FitConfig
from dashfx.plugins import Share, find, published

Schedule = Callable[[float, FitConfig], float]  # (progress from 0 to 1, options) -> multiple of the peak rate


def schedule_of(config: FitConfig) -> Schedule:
    """What `schedule` names; "auto" is one cycle, where the length is given.

    Raises:
        ConfigError: no schedule of that name.
    """
    schedule: Schedule = find("schedule", "onecycle" if config.schedule == AUTO else config.schedule)
    return schedule


def onecycle(
    progress: float, config: FitConfig, *, rise: Share = 0.3, start: Share = 1 / 25, end: Share = 1e-4
) -> float:
    """Rises from lr/25 over the first 30 % and falls along a cosine to lr/10000 (Smith and Topin, 2018)."""
    if progress < rise:
        return 1 - (1 - start) * _cosine(progress / rise)
    return end + (1 - end) * _cosine((progress - rise) / (1 - rise))


def cosine(progress: float, config: FitConfig) -> float:
    """Falls to zero along a cosine."""
    return _cosine(progress)


def steps(progress: float, config: FitConfig, *, factor: Share = 0.2) -> float:
    """Multiplies by 0.2 after each milestone."""
    return factor ** sum(progress >= milestone for milestone in config.milestones)


def constant(progress: float, config: FitConfig) -> float:
    """The peak rate throughout."""
    return 1.0


def warmup_stable_decay(progress: float, config: FitConfig, *, rise: Share = 0.05, fall: Share = 0.2) -> float:
    """Rises over the first 5 %, stays, and falls over the last 20 % as 1 minus a square root (Hägele et al., 2024)."""
    return rising(progress / rise) if progress < 1 - fall else falling((progress - 1 + fall) / fall)


@published("Hundt et al., sharpDARTS: Faster and More Accurate Differentiable Architecture Search, 2019", "8")
def cosine_power(progress: float, config: FitConfig, *, order: Annotated[float, Field(ge=1)] = 10.0) -> float:
    """Falls to zero along a power of a cosine, sooner for larger orders; order 1 is the cosine itself."""
    share = _cosine(progress)
    return share if order == 1 else (order ** (2 * share) - 1) / (order**2 - 1)


SCHEDULES: dict[str, Schedule] = {
    "onecycle": onecycle,
    "cosine": cosine,
    "cosine-power": cosine_power,
    "steps": steps,
    "constant": constant,
    "warmup-stable-decay": warmup_stable_decay,
}


def rising(share: float, start: float = 1 / 25) -> float:
    """A warm-up: from `start` to the peak, in a straight line."""
    return start + (1 - start) * min(share, 1.0)


def falling(share: float) -> float:
    """A cool-down: 1 - sqrt(share), which ends below a straight line (Hägele et al., 2024)."""
    return 1 - math.sqrt(min(max(share, 0.0), 1.0))


def fade(progress: float, share: float) -> float:
    """1 at the start, 0 from `share` on, along a cosine, so that it starts and ends without a jump."""
    return _cosine(progress / share) if share > 0 and progress < share else 0.0


def _cosine(progress: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * min(max(progress, 0.0), 1.0)))
