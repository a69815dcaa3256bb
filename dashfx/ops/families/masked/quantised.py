"""Quantised convs: each weight is a whole number of steps, of which an output channel has one size.

After Zhao, Wang, Bates, Mullins, Jamnik and Liò, "Learned Low Precision Graph Neural Networks", 2020, where bits are
options that are mixed like operations; steps as ONNX Runtime's symmetric int8 has them. Activations stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from dashfx.ops.families.alone import alone
from dashfx.ops.families.dense import Dense
from dashfx.ops.families.masked.sparse import straight
from dashfx.ops.geometry import ConvSpec
from dashfx.site import Site
from dashfx.space import Candidate


@dataclass(frozen=True)
class Quantised(Dense):
    """Each weight rounded to steps of max |weight| / (2^(bits - 1) - 1) of its output channel, gradients as of itself.

    Lowered to a plain conv of such numbers in float32; `--int8` then stores eight bits of each. A training of the
    lowered model leaves the steps behind.

    Args:
        bits: of a weight.
    """

    bits: Annotated[int, Field(ge=2, le=8)] = 8
    exact: ClassVar[bool] = False
    linear: ClassVar[bool] = False
    paper: ClassVar[str] = "after Zhao et al., Learned Low Precision Graph Neural Networks, 2020"
    row: ClassVar[str] = "134"

    def kernel(self, theta: Sequence[Tensor], site: Site, candidate: Candidate, like: Tensor) -> Tensor:
        return straight(theta[0], in_steps(theta[0].detach(), self.bits))

    def plain(self, theta: Sequence[Tensor], site: Site, candidate: Candidate) -> list[Tensor]:
        return [in_steps(theta[0].detach(), self.bits)]

    def run(self, x: Tensor, theta: Sequence[Tensor], site: Site, spec: ConvSpec, bias: Tensor | None = None) -> Tensor:
        return alone(x, self.kernel(theta, site, spec.candidates[0], x), spec, bias)


def in_steps(weight: Tensor, bits: int) -> Tensor:
    """(out, ...) -> the same with at most 2^bits - 1 values an output channel, 0 among them."""
    most = 2 ** (bits - 1) - 1
    step = weight.abs().flatten(1).amax(1).reshape(-1, *[1] * (weight.dim() - 1)) / most
    return torch.where(step > 0, (weight / step).round().clamp(-most, most) * step, weight)
