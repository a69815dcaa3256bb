"""Soft Gumbel, the relaxation of DASH: a softmax of the logits with Gumbel noise."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dashfx.ops.relaxations.base import masked_softmax


class SoftGumbel:
    """softmax((logits + G) / tau), G standard Gumbel noise: the relaxation of the paper (tau = 1, G new each time).

    No generator, no noise: evaluation passes None. The paper's log_softmax of the logits only shifts them, and a shift
    leaves a softmax alone.
    """

    def __init__(self, tau: float = 1.0) -> None:
        self.tau = tau

    def __call__(self, logits: Tensor, mask: Tensor, generator: torch.Generator | None = None) -> Tensor:
        if generator is not None:
            noise = torch.empty_like(logits, requires_grad=False).exponential_(generator=generator)
            tiny = torch.finfo(noise.dtype).tiny  # an exponential of exactly 0 would give infinite noise
            logits = logits - noise.clamp_min_(tiny).log_()
        return masked_softmax(logits / self.tau, mask)

    def after_step(self, arch: Any) -> None:
        """Nothing to project."""
