"""Binary convs: one modulus for all numbers of an output channel, and their signs.

After Chen, Zhuo, Zhang and others, "Binarized Neural Architecture Search", 2020; the modulus after Rastegari et al.,
"XNOR-Net", ECCV 2016. Activations stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from dashfx.ops.families.alone import alone
from dashfx.ops.families.dense import Dense
from dashfx.ops.families.masked.sparse import straight
from dashfx.ops.geometry import ConvSpec
from dashfx.site import Site
from dashfx.space import Candidate


@dataclass(frozen=True)
class Binary(Dense):
    """mean |weight| of an output channel times the sign of each number, with the gradient of the weight itself.

    Lowered to a plain conv with two values a channel; packed, its weights would take a bit each, which no file format
    here does, and ONNX Runtime is no faster for it. A training of the lowered model leaves the two values behind.
    """

    exact: ClassVar[bool] = False
    linear: ClassVar[bool] = False
    paper: ClassVar[str] = "after Chen et al., Binarized Neural Architecture Search, AAAI 2020"
    row: ClassVar[str] = "36"

    def kernel(self, theta: Sequence[Tensor], site: Site, candidate: Candidate, like: Tensor) -> Tensor:
        return straight(theta[0], binarised(theta[0].detach()))

    def plain(self, theta: Sequence[Tensor], site: Site, candidate: Candidate) -> list[Tensor]:
        return [binarised(theta[0].detach())]

    def run(self, x: Tensor, theta: Sequence[Tensor], site: Site, spec: ConvSpec, bias: Tensor | None = None) -> Tensor:
        return alone(x, self.kernel(theta, site, spec.candidates[0], x), spec, bias)


def binarised(weight: Tensor) -> Tensor:
    """(out, ...) -> the same, two values an output channel: the nearest such in the sum of squares."""
    size = weight.abs().flatten(1).mean(1).reshape(-1, *[1] * (weight.dim() - 1))
    return torch.where(weight >= 0, size, -size)
