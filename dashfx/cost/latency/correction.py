"""Correction of summed latencies: sums and measured totals of a few networks go in; a line through them comes out.

After LA-DARTS (Xu et al., 2020), whose cost is learned from measured networks: here by two numbers, an overhead that
every network has and a factor on what its convs take alone, since the networks differ in their kernels only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.stats import spearmanr

LEAST = 6  # networks, below which nothing is fitted


@dataclass(frozen=True)
class Correction:
    """How well sums tell what was measured, as they are and by `offset + scale * sum`.

    Attributes:
        plain, fitted: median relative errors, the latter of networks that were left out of the fit one by one.
        spearman: rank correlation of sums and measurements; NaN where either does not vary.
    """

    offset: float
    scale: float
    plain: float
    fitted: float
    spearman: float
    n: int

    @property
    def used(self) -> bool:
        """Only where it is better on what it has not seen."""
        return self.scale > 0 and self.fitted < self.plain

    @property
    def line(self) -> tuple[float, float]:
        """The offset in seconds and the factor to reckon with."""
        return (self.offset, self.scale) if self.used else (0.0, 1.0)

    def __str__(self) -> str:
        said = f"rank correlation {self.spearman:.2f}, median error {self.plain:.0%}"
        how = "used" if self.used else "not used"
        return (
            f"sums of latencies against {self.n} networks measured as a whole: {said}; by a fitted overhead and factor "
            f"({1e6 * self.offset:.3g} us, {self.scale:.2f}) {self.fitted:.0%} on what was left out, which is {how}"
        )

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def correction(sums: Sequence[float], measured: Sequence[float]) -> Correction | None:
    """The line of least relative squares; None of fewer than `LEAST` networks, or where all sums are alike.

    Args:
        sums, measured: of the same networks, in seconds, above 0.
    """
    x, y = np.asarray(sums, dtype=float), np.asarray(measured, dtype=float)
    if len(x) < LEAST or np.ptp(x) <= 1e-6 * x.mean():
        return None
    kept = [np.arange(len(x)) != i for i in range(len(x))]
    lines = [_line(x[others], y[others]) for others in kept]
    left_out = np.array([offset + scale * each for (offset, scale), each in zip(lines, x, strict=True)])
    ranks = float(spearmanr(x, y).statistic) if np.ptp(y) else float("nan")
    return Correction(*_line(x, y), _error(x, y), _error(left_out, y), ranks, len(x))


def _line(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Offset and scale that minimise the sum of ((offset + scale x - y) / y)^2; x is scaled near 1 for the solver."""
    unit = x.mean()
    rows = np.stack([unit / y, x / y], axis=1)
    offset, scale = np.linalg.lstsq(rows, np.ones(len(x)), rcond=None)[0]
    return float(offset * unit), float(scale)


def _error(predicted: np.ndarray, y: np.ndarray) -> float:
    return float(np.median(np.abs(predicted - y) / y))
