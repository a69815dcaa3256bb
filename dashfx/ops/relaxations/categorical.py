"""One candidate a step by its probability, without a gradient through the draw.

Cai, Zhu and Han, "ProxylessNAS: Direct Neural Architecture Search on Target Task and Hardware", ICLR 2019: weights
learn on one path at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from dashfx.ops.relaxations.base import Relaxation, masked_softmax


@dataclass
class Categorical(Relaxation):
    """onehot(i), i drawn by p = softmax(logits), computed alone; without noise p itself.

    Its gradient in the logits is that of p (straight through), for updates that do not find a better one, as
    `two-path`, `agents` and `autohas` do.

    Args:
        sampled: if not, all candidates are computed as one mixed kernel.
    """

    sampled: bool = True
    paper: ClassVar[str] = "Cai et al., ProxylessNAS: Direct NAS on Target Task and Hardware, ICLR 2019"
    row: ClassVar[str] = "33"

    def __call__(self, logits: Tensor, mask: Tensor, generator: torch.Generator | None = None) -> Tensor:
        soft = masked_softmax(logits, mask)
        if generator is None:
            return soft
        noise = torch.empty_like(soft).exponential_(generator=generator)
        place = (soft.detach() / noise).masked_fill(~mask, -1.0).argmax(-1, keepdim=True)  # the first of Poisson clocks
        return torch.zeros_like(soft).scatter(-1, place, 1.0) + (soft - soft.detach())
