"""One candidate alone: a single native conv, cropped to the taps that can meet the input."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from dashfx.ops.algorithms.base import at, convolve, extend
from dashfx.ops.geometry import ConvSpec, dilated_lattices


def alone(x: Tensor, kernel: Tensor, spec: ConvSpec, bias: Tensor | None = None, groups: int = 0) -> Tensor:
    """x (batch, in, *size), kernel (out, in / groups, *kernel) of the only candidate of `spec` -> (batch, out, *).

    Args:
        groups: instead of those of `spec`.
    """
    x, spec = extend(x, replace(spec, groups=groups) if groups else spec)
    (lattice,) = dilated_lattices(spec, tuple(x.shape[2:]))
    if not lattice.slots:  # no tap meets the input
        return convolve(x, kernel.new_zeros(*kernel.shape[:2], *lattice.shape), lattice.points, spec, bias)
    (slot,) = lattice.slots
    return convolve(x, kernel[at(slot.taps)], lattice.points, spec, bias)
