"""Mixed weights: kernels are mixed into a dense one and convolved once; a conv is linear in its kernel (MergeNAS)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from dashfx.ops.algorithms.base import aggregate, convolve, extend
from dashfx.ops.geometry import ConvSpec, dense_lattice


class MixedWeights:
    """The dense kernel is cropped to taps that can reach the input. Cheap where its span is small."""

    def __call__(
        self, x: Tensor, weights: Sequence[Tensor], coef: Tensor, spec: ConvSpec, bias: Tensor | None = None
    ) -> Tensor:
        x, spec = extend(x, spec)
        lattice = dense_lattice(spec, tuple(x.shape[2:]))
        (kernel,) = aggregate([lattice], weights, coef)
        return convolve(x, kernel, lattice.points, spec, bias)
