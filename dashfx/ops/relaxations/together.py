"""All candidates at once: the coefficients of a choice of several kernels, which is no mixture any more."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dashfx.ops.relaxations.base import Relaxation
from dashfx.space import Shared


@dataclass
class Together(Relaxation):
    """Each coefficient is 1: the outputs of all candidates are added up, and rows of zeros share out channels.

    Args:
        choice: what the candidates, its parts in their order, are together.
    """

    choice: Shared
    simplex = False

    def __call__(self, logits: Tensor, mask: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return mask.to(logits.dtype)
