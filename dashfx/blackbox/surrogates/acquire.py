"""Acquisition functions: what is predicted of genomes goes in; how much each is worth evaluating comes out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from scipy.stats import norm

from dashfx.blackbox.predictors.base import Predicted

Acquire = Callable[[Predicted, float, torch.Generator], np.ndarray]  # the best value so far; (n,), larger first


def mean(predicted: Predicted, best: float, generator: torch.Generator) -> np.ndarray:
    """What is expected."""
    return predicted.mean


def upper_bound(predicted: Predicted, best: float, generator: torch.Generator) -> np.ndarray:
    """A deviation above what is expected (Srinivas et al., ICML 2010)."""
    return predicted.mean + predicted.spread


def expected_improvement(predicted: Predicted, best: float, generator: torch.Generator) -> np.ndarray:
    """E[max(0, value - best)] of a normal value: s (z Phi(z) + phi(z)), z = (mean - best) / s (Jones et al., 1998)."""
    gain = predicted.mean - best
    with np.errstate(divide="ignore", invalid="ignore"):
        z = gain / predicted.spread
        found = predicted.spread * (z * norm.cdf(z) + norm.pdf(z))
    return np.where(predicted.spread > 0, found, np.maximum(gain, 0))


def thompson(predicted: Predicted, best: float, generator: torch.Generator) -> np.ndarray:
    """A draw from each genome's own normal distribution (independent Thompson sampling; White et al., AAAI 2021)."""
    noise = torch.randn(len(predicted.mean), generator=generator, dtype=torch.float64)
    return predicted.mean + predicted.spread * noise.numpy()


ACQUIRE: dict[str, Acquire] = {"mean": mean, "ucb": upper_bound, "ei": expected_improvement, "thompson": thompson}
