"""Gate, the base: how what is learned of a channel becomes the number that the channel is multiplied with."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from dashfx.ops.relaxations.base import Relaxation

Price = Tensor  # what the gated model costs as a share of the whole one's, 0-dim, with gradient


@dataclass
class Gate(Relaxation):
    """A relaxation whose coefficients are each for itself: 1 leaves a channel as it is, 0 takes it away.

    Attributes:
        learns: whether the logits move; else a gate only shows what its channel is worth.
    """

    simplex: ClassVar[bool] = False
    learns: ClassVar[bool] = True

    @abstractmethod
    def worth(self, logits: Tensor) -> Tensor:
        """(n,): of what is learned, by which channels leave, the least first; of a gate that learns."""

    def penalty(self, values: Tensor, each: Tensor, price: Price, target: float) -> Tensor:
        """What is added to the loss, 0-dim.

        Args:
            values: (n,) of all gates.
            each: (n,) what each channel costs, as a share of the whole model.
            target: the share of the cost that is allowed now.
        """
        return torch.zeros((), device=values.device)

    def after_pruning(self, left: int, wanted: int) -> None:
        """Told at every pruning how many channels left, and how many the schedule wants to leave in a pruning."""
