"""Relaxation, the base: from architecture logits to mixing coefficients, (logits, mask, generator) -> coef.

Logits are (n_candidates,) or a batch (sites, n_candidates); `mask` of the same shape is True where a candidate is
alive, and the others get exactly 0. A search works on its own copy of a relaxation, state included.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor


@dataclass(frozen=True)
class Progress:
    """How far a search is when an epoch begins.

    Attributes:
        epoch: its number, from 0.
        share: the share of all epochs that is done.
        warm: whether architecture parameters move already.
    """

    epoch: int
    share: float
    warm: bool


class Relaxation(ABC):
    """How logits become coefficients.

    Attributes:
        simplex: whether a site's coefficients add up to 1; gates, each for itself, do not.
        logits: whether what is learned may be any numbers; else they are coefficients, which only "expgrad" keeps.
        sampled: whether one candidate is computed alone, the one of the largest coefficient, with that coefficient's
            gradient.
    """

    simplex: ClassVar[bool] = True
    logits: ClassVar[bool] = True
    sampled: bool = False

    @abstractmethod
    def __call__(self, logits: Tensor, mask: Tensor, generator: torch.Generator | None) -> Tensor:
        """Coefficients of the shape of `logits`, with gradient; without a generator no noise."""

    def start(self, n: int) -> Tensor:
        """(n,): the logits that a site's mixture begins with."""
        return torch.zeros(n)

    def attach(self, engine: Any) -> None:
        """Look at the sites as they are now; called before the first step, and when candidates have left."""

    def begin(self, progress: Progress) -> None:
        """Set what depends on how far the search is, such as a temperature; called when an epoch begins."""

    def after_step(self, engine: Any) -> None:
        """What is left to do when architecture parameters have moved, such as a projection of `engine.alphas`."""

    def state_dict(self) -> dict[str, Any]:
        """What it remembers from step to step, as tensors and plain values."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Remember what `state_dict` gave."""


def masked_softmax(logits: Tensor, mask: Tensor) -> Tensor:
    """The softmax over the candidates that are alive."""
    return logits.masked_fill(~mask, -torch.inf).softmax(-1)


def geometric(start: float, end: float, progress: float) -> float:
    """From start to end by equal factors."""
    return start * (end / start) ** min(max(progress, 0.0), 1.0)
