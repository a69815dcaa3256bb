"""Quantised convs: each weight is a whole number of steps, of which an output channel has one size.

After Zhao, Wang, Bates, Mullins, Jamnik and Liò, "Learned Low Precision Graph Neural Networks", 2020, where bits are
options that are mixed like operations; steps as ONNX Runtime's symmetric int8 has them. Activations stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from dashfx.ops.families.masked.rounded import Rounded


@dataclass(frozen=True)
class Quantised(Rounded):
    """Each weight rounded to steps of max |weight| / (2^(bits - 1) - 1) of its output channel, gradients as of itself.

    Lowered to a plain conv of such numbers in float32; `--int8` then stores eight bits of each. A training of the
    lowered model leaves the steps behind.

    Args:
        bits: of a weight.
    """

    bits: Annotated[int, Field(ge=2, le=8)] = 8
    paper: ClassVar[str] = "after Zhao et al., Learned Low Precision Graph Neural Networks, 2020"
    row: ClassVar[str] = "134"

    def rounded(self, weight: Tensor) -> Tensor:
        return in_steps(weight, self.bits)


def in_steps(weight: Tensor, bits: int) -> Tensor:
    """(out, ...) -> the same with at most 2^bits - 1 values an output channel, 0 among them."""
    most = 2 ** (bits - 1) - 1
    step = weight.abs().flatten(1).amax(1).reshape(-1, *[1] * (weight.dim() - 1)) / most
    return torch.where(step > 0, (weight / step).round().clamp(-most, most) * step, weight)
