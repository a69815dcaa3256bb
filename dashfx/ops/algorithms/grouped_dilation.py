"""Grouping by dilation: all kernel sizes of one dilation are merged into one native dilated conv."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from dashfx.ops.algorithms.base import aggregate, convolve, extend
from dashfx.ops.geometry import ConvSpec, dilated_lattices


class GroupedDilation:
    """Exact, and without a Fourier transform: the choice for depthwise convs and for half precision."""

    def __call__(
        self, x: Tensor, weights: Sequence[Tensor], coef: Tensor, spec: ConvSpec, bias: Tensor | None = None
    ) -> Tensor:
        x, spec = extend(x, spec)
        lattices = dilated_lattices(spec, tuple(x.shape[2:]))
        kernels = aggregate(lattices, weights, coef)
        y = convolve(x, kernels[0], lattices[0].points, spec, bias)
        for lattice, kernel in zip(lattices[1:], kernels[1:], strict=True):
            y = y + convolve(x, kernel, lattice.points, spec)
        return y
