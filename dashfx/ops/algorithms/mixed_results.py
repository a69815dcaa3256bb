"""Mixed results, the plain reference: every candidate's conv is run and the results are mixed (DARTS)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from dashfx.ops.algorithms.base import CONVS, pad
from dashfx.ops.geometry import ConvSpec


class MixedResults:
    def __call__(
        self, x: Tensor, weights: Sequence[Tensor], coef: Tensor, spec: ConvSpec, bias: Tensor | None = None
    ) -> Tensor:
        conv = CONVS[spec.ndim]
        total = None
        for i, (candidate, padding, weight) in enumerate(zip(spec.candidates, spec.paddings, weights, strict=True)):
            padded = pad(x, padding, spec.padding_mode)
            y = conv(padded, weight, None, spec.stride, 0, candidate.dilation, spec.groups)
            y = coef[i].to(y.dtype) * y
            total = y if total is None else total + y
        assert total is not None  # a spec has at least one candidate
        return total if bias is None else total + bias.to(total.dtype).view(-1, *[1] * spec.ndim)
