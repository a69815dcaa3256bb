"""Acquisition functions: what is predicted of genomes goes in; how much each is worth evaluating comes out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from scipy.stats import norm

from dashfx.blackbox.predictors.base import Fitted

# A fit, the features of n genomes and the best value so far -> (n,), larger first.
Acquire = Callable[[Fitted, np.ndarray, float, torch.Generator], np.ndarray]


def expected(fitted: Fitted, x: np.ndarray, best: float, generator: torch.Generator) -> np.ndarray:
    """What is expected."""
    return fitted.mean(x)


def upper_bound(fitted: Fitted, x: np.ndarray, best: float, generator: torch.Generator) -> np.ndarray:
    """A deviation above what is expected (Srinivas et al., ICML 2010)."""
    mean, spread = fitted.predict(x)
    return mean + spread


def expected_improvement(fitted: Fitted, x: np.ndarray, best: float, generator: torch.Generator) -> np.ndarray:
    """E[max(0, value - best)] of a normal value: s (z Phi(z) + phi(z)), z = (mean - best) / s (Jones et al., 1998)."""
    mean, spread = fitted.predict(x)
    gain = mean - best
    with np.errstate(divide="ignore", invalid="ignore"):
        z = gain / spread
        found = spread * (z * norm.cdf(z) + norm.pdf(z))
    return np.where(spread > 0, found, np.maximum(gain, 0))


def thompson(fitted: Fitted, x: np.ndarray, best: float, generator: torch.Generator) -> np.ndarray:
    """A draw from each genome's own normal distribution (independent Thompson sampling; White et al., AAAI 2021)."""
    mean, spread = fitted.predict(x)
    noise: np.ndarray = torch.randn(len(mean), generator=generator, dtype=torch.float64).numpy()
    return mean + spread * noise


ACQUIRE: dict[str, Acquire] = {"mean": expected, "ucb": upper_bound, "ei": expected_improvement, "thompson": thompson}
