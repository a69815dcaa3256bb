"""Sparse convs: of a dense kernel the numbers of the largest modulus, the others are 0.

After Mousavi, Loni, Alibeigi and Daneshtalab, "DASS: Differentiable Architecture Search for Sparse Neural Networks",
2022, whose masks are learned; here they follow the weights, with gradients straight through (Bengio et al., 2013).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from dashfx.ops.families.masked.rounded import Rounded


@dataclass(frozen=True)
class Sparse(Rounded):
    """weight * [among the `share` of largest modulus], with the gradient of the weight itself.

    Lowered to a plain conv that holds zeros; a training of the lowered model fills them, so what is to stay sparse is
    taken with `retrain.weights=inherit` and not trained. ONNX Runtime is no faster for zeros.

    Args:
        share: of the numbers that stay.
    """

    share: Annotated[float, Field(gt=0, le=1)] = 0.2
    paper: ClassVar[str] = "after Mousavi et al., DASS: Differentiable Architecture Search for Sparse NNs, 2022"
    row: ClassVar[str] = "26"

    def rounded(self, weight: Tensor) -> Tensor:
        return largest(weight, self.share)


def largest(weight: Tensor, share: float) -> Tensor:
    """Like `weight`, with zeros but for round(share * n) numbers, one at least, of the largest modulus."""
    count = max(1, round(share * weight.numel()))
    kept = weight.flatten().abs().topk(count).indices
    return torch.zeros_like(weight).flatten().scatter(0, kept, weight.flatten()[kept]).reshape(weight.shape)
