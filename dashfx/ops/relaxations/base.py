"""Relaxation, the protocol: from architecture logits to mixing coefficients, (logits, mask, generator) -> coef.

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


def masked_softmax(logits: Tensor, mask: Tensor) -> Tensor:
    """The softmax over the candidates that are alive."""
    return logits.masked_fill(~mask, -torch.inf).softmax(-1)
