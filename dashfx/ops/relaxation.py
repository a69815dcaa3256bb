"""From architecture logits to mixing coefficients: (logits, mask, generator) -> coef on the simplex.

Logits are (n_candidates,) or a batch (sites, n_candidates); `mask` of the same shape is True where a candidate is
alive, and the others get exactly 0. A relaxation keeps no state but its temperature, which a schedule may set.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor


class Relaxation(Protocol):
    def __call__(self, logits: Tensor, mask: Tensor, generator: torch.Generator | None) -> Tensor: ...

    def after_step(self, arch: Any) -> None: ...


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
        return _masked_softmax(logits / self.tau, mask)

    def after_step(self, arch: Any) -> None:
        """Nothing to project."""


class Softmax:
    """softmax(logits / tau): first-order DARTS."""

    def __init__(self, tau: float = 1.0) -> None:
        self.tau = tau

    def __call__(self, logits: Tensor, mask: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return _masked_softmax(logits / self.tau, mask)

    def after_step(self, arch: Any) -> None:
        """Nothing to project."""


def _masked_softmax(logits: Tensor, mask: Tensor) -> Tensor:
    return logits.masked_fill(~mask, -torch.inf).softmax(-1)
