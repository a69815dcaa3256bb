"""Binary convs: one modulus for all numbers of an output channel, and their signs.

After Chen, Zhuo, Zhang and others, "Binarized Neural Architecture Search", 2020; the modulus after Rastegari et al.,
"XNOR-Net", ECCV 2016. Activations stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from dashfx.ops.families.masked.rounded import Rounded


@dataclass(frozen=True)
class Binary(Rounded):
    """mean |weight| of an output channel times the sign of each number, with the gradient of the weight itself.

    Lowered to a plain conv with two values a channel; packed, its weights would take a bit each, which no file format
    here does, and ONNX Runtime is no faster for it. A training of the lowered model leaves the two values behind.
    """

    paper: ClassVar[str] = "after Chen et al., Binarized Neural Architecture Search, AAAI 2020"
    row: ClassVar[str] = "36"

    def rounded(self, weight: Tensor) -> Tensor:
        return binarised(weight)


def binarised(weight: Tensor) -> Tensor:
    """(out, ...) -> the same, two values an output channel: the nearest such in the sum of squares."""
    size = weight.abs().flatten(1).mean(1).reshape(-1, *[1] * (weight.dim() - 1))
    return torch.where(weight >= 0, size, -size)
