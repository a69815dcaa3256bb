"""Soft Gumbel, the relaxation of DASH: a softmax of the logits with Gumbel noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from dashfx.ops.relaxations.softmax import Softmax


@dataclass
class SoftGumbel(Softmax):
    """softmax((logits + G) / tau), G standard Gumbel noise: the relaxation of the paper (tau = 1, G new each time).

    No generator, no noise: evaluation passes None. The paper's log_softmax of the logits only shifts them, and a shift
    leaves a softmax alone.
    """

    paper: ClassVar[str] = "Shen et al., Efficient Architecture Search for Diverse Tasks, NeurIPS 2022"

    def __call__(self, logits: Tensor, mask: Tensor, generator: torch.Generator | None = None) -> Tensor:
        if generator is not None:
            noise = torch.empty_like(logits, requires_grad=False).exponential_(generator=generator)
            tiny = torch.finfo(noise.dtype).tiny  # an exponential of exactly 0 would give infinite noise
            logits = logits - noise.clamp_min_(tiny).log_()
        return super().__call__(logits, mask)
