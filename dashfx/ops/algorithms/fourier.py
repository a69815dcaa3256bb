"""Kernels are mixed first and convolved as a product of spectra (DASH): the cost hardly grows with the candidates.

y[p] = sum_o k[o] x[p + o] is Y = X conj(K). The period is the shortest at which nothing wraps around, after dropping
the taps that cannot reach the input; circular padding wraps around on purpose and has the period of the input.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from dashfx.ops.algorithms.base import aggregate, extend
from dashfx.ops.algorithms.products import product_over_channels
from dashfx.ops.geometry import ConvSpec, Lattice, Points, Size, dilated_lattices
from dashfx.ops.transform import FftTransform, MatrixTransform, Transform

# Up to about these periods matrix products are faster than FFTs. Seen on one busy CPU core in float32, best of 5: 1-D,
# matrix against FFT 8.6 ms to 10.0 at period 248, 18.1 to 16.2 at 391; 2-D, 434 to 500 at 260, 493 to 304 at 460.
LONGEST_MATRIX_1D = 256
LONGEST_MATRIX = 320


@dataclass(frozen=True)
class FourierPlan:
    """Where the values stand and how they are transformed.

    Attributes:
        lattices: the taps, merged by dilation.
        inputs, outputs: the positions of input values and of outputs.
    """

    lattices: tuple[Lattice, ...]
    inputs: Points
    outputs: Points
    groups: int
    transform: Transform

    @property
    def taps(self) -> list[Points]:
        return [lattice.points for lattice in self.lattices]


class Fourier:
    """In float32 at least: half precision is cast up, autocast is off inside, and the result is cast back."""

    def __call__(
        self, x: Tensor, weights: Sequence[Tensor], coef: Tensor, spec: ConvSpec, bias: Tensor | None = None
    ) -> Tensor:
        kind = x.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
        with torch.autocast(kind, enabled=False):
            x, coef, *weights = (_at_least_float32(t) for t in (x, coef, *weights))
            plan = plan_for(spec, tuple(x.shape[2:]))
            if not _wraps(spec, tuple(x.shape[2:])):
                x, _ = extend(x, spec)
            y = _Correlate.apply(plan, x, *aggregate(plan.lattices, weights, coef))
            if bias is not None:
                y = y + bias.to(y.dtype).view(-1, *[1] * spec.ndim)
        return y.to(dtype)


def _at_least_float32(t: Tensor) -> Tensor:
    return t.float() if t.dtype in (torch.float16, torch.bfloat16) else t


def _by_matrix(length: Size) -> bool:
    return max(length) <= (LONGEST_MATRIX_1D if len(length) == 1 else LONGEST_MATRIX)


def _wraps(spec: ConvSpec, size: Size) -> bool:
    return spec.padding_mode == "circular" and _by_matrix(size)


@lru_cache(maxsize=1024)
def plan_for(spec: ConvSpec, size: Size) -> FourierPlan:
    """The plan for inputs of `size` before any padding."""
    wraps = _wraps(spec, size)
    if not wraps:
        spec, size = spec.extended(size)
    lattices = dilated_lattices(spec, None if wraps else size)
    inputs, outputs = tuple(map(range, size)), spec.outputs(size)
    length = size
    if not wraps:
        axes = zip(*(lattice.points for lattice in lattices), strict=True)
        bounds = [(min(p[0] for p in axis), max(p[-1] for p in axis)) for axis in axes]
        # p + o - n must not reach another multiple of the period than 0
        spans = zip(size, outputs, bounds, strict=True)
        length = tuple(max(1, n - low, out[-1] + 1 + high) for n, out, (low, high) in spans)
    if _by_matrix(length):
        return FourierPlan(lattices, inputs, outputs, spec.groups, MatrixTransform(length))
    fast = tuple(_fast_length(max(n, f)) for n, f in zip(size, length, strict=True))
    return FourierPlan(lattices, inputs, outputs, spec.groups, FftTransform(fast))


def _fast_length(least: int) -> int:
    """The next even length whose only primes are 2, 3 and 5."""
    length = least + least % 2
    while True:
        rest = length
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return length
        length += 2


class _Correlate(torch.autograd.Function):
    """y (batch, out, *outputs) from x (batch, in, *size) and one kernel (out, in / groups, *lattice) per lattice.

    Saves the spectra of input and kernel. Backward: dX = dY K, dK = X conj(dY), the transposed transforms around them.
    """

    @staticmethod
    def forward(ctx: Any, plan: FourierPlan, x: Tensor, *kernels: Tensor) -> Tensor:
        ctx.plan, ctx.channels = plan, product_over_channels(len(x), plan.groups, *kernels[0].shape[:2])
        spectrum = plan.transform.analyse([ctx.channels.rows(x)], [plan.inputs])
        kernel = plan.transform.analyse([k.flatten(0, 1) for k in kernels], plan.taps)
        ctx.save_for_backward(*spectrum, *kernel)
        (y,) = plan.transform.adjoint(ctx.channels.output(spectrum, kernel), [plan.outputs], weighted=True)
        return ctx.channels.batch(y)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        plan, channels, transform = ctx.plan, ctx.channels, ctx.plan.transform
        spectrum, kernel = ctx.saved_tensors[:2], ctx.saved_tensors[2:]
        grad_spectrum = transform.analyse([channels.rows(grad)], [plan.outputs], weighted=True)
        grad_x, grad_kernels = None, [None] * len(plan.lattices)
        if ctx.needs_input_grad[1]:
            (rows,) = transform.adjoint(channels.grad_input(grad_spectrum, kernel), [plan.inputs])
            grad_x = channels.batch(rows)
        if any(ctx.needs_input_grad[2:]):
            values = transform.adjoint(channels.grad_kernel(grad_spectrum, spectrum), plan.taps)
            grad_kernels = [v.unflatten(0, channels.kernel_shape) for v in values]
        return None, grad_x, *grad_kernels
