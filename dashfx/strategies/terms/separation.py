"""Separation: gates are pushed away from one half.

Heuillet, Tabia, Arioui and Youcef-Toumi, "D-DARTS: Distributed Differentiable Architecture Search", 2021; the 0-1 loss
of Chu et al., "Fair DARTS", ECCV 2020.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from dashfx.strategies.terms.base import Moment, Part, Term


@dataclass
class Separation(Term):
    """-weight * mean (g - 1/2)^2 over the coefficients g of all sites, with `search.relaxation=gates`.

    The marginal contributions of the paper are left out: in its code they have no gradient.
    """

    weight: float = 1.0
    part: ClassVar[Part] = "alphas"
    paper: ClassVar[str] = "Heuillet et al., D-DARTS: Distributed Differentiable Architecture Search, 2021"
    row: ClassVar[str] = "1"

    def __call__(self, now: Moment) -> Tensor:
        return -(torch.cat(list(now.coef.values())) - 0.5).square().mean()
