"""Calibration of a classifier: how far its probabilities can be trusted, and one temperature that mends them.

Errors in 15 bins and the temperature after Guo, Pleiss, Sun and Weinberger, "On Calibration of Modern Neural Networks",
ICML 2017; class by class after Kull et al., NeurIPS 2019; side by side in Tao et al., "A Benchmark Study on
Calibration", ICLR 2024.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from scipy.optimize import minimize_scalar
from torch import Tensor

from dashfx.plugins import published

BINS = 15
RANGE = 5.0  # of the temperature's logarithm, to either side


@dataclass(frozen=True)
class Calibration:
    """How far probabilities are from what comes true; 0 is best in all.

    Attributes:
        error: the mean over rows of |share that is right - mean largest probability| of the row's bin.
        by_class: the same for the probability of each class and whether it is that one, in the mean over classes.
        nll: minus the mean logarithm of the true class's probability, in nats.
        brier: the mean over rows of the summed squares of probability minus truth.
    """

    error: float
    by_class: float
    nll: float
    brier: float


@dataclass(frozen=True)
class Trust:
    """What a classifier's probabilities are worth as they are, and divided by a temperature.

    Attributes:
        temperature: of the scores, with the least nll on validation rows.
        plain, scaled: on test rows, without and with it.
    """

    temperature: float
    plain: Calibration
    scaled: Calibration


def calibration_of(scores: Tensor, truth: Tensor, temperature: float = 1.0) -> Calibration:
    """Of softmax(scores / temperature).

    Args:
        scores: (n, classes).
        truth: (n,) class numbers.
    """
    logs = (scores.double() / temperature).log_softmax(1)
    p, held = logs.exp(), F.one_hot(truth, scores.shape[1]).double()
    top, answer = p.max(1)
    each = [binned(p[:, k], held[:, k]) for k in range(scores.shape[1])]
    return Calibration(
        binned(top, (answer == truth).double()),
        sum(each) / len(each),
        float(F.nll_loss(logs, truth)),
        float((p - held).square().sum(1).mean()),
    )


def binned(p: Tensor, right: Tensor) -> float:
    """sum over bins of equal width of |sum of right - sum of p| / n, for (n,) probabilities and zeros and ones."""
    place = (p * BINS).ceil().long().clamp(1, BINS) - 1  # a bin holds its upper end
    gaps = torch.zeros(BINS, dtype=torch.float64).index_add_(0, place, right - p)
    return float(gaps.abs().sum() / len(p))


def temperature_of(scores: Tensor, truth: Tensor) -> float:
    """The temperature of the least nll on these rows; 1 where none does better."""

    def nll(log: float) -> float:
        return float(F.cross_entropy(scores.double() / torch.tensor(log, dtype=torch.float64).exp(), truth))

    found = minimize_scalar(nll, bounds=(-RANGE, RANGE), method="bounded", options={"xatol": 1e-4})
    return float(torch.tensor(found.x, dtype=torch.float64).exp()) if found.fun < nll(0.0) else 1.0


@published("Tao et al., A Benchmark Study on Calibration, ICLR 2024", "105")
def trust(held: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor]) -> Trust:
    """Scores and class numbers of the validation and of the test part go in."""
    temperature = temperature_of(*held)
    return Trust(temperature, calibration_of(*test), calibration_of(*test, temperature))
