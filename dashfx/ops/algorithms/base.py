"""Algorithm, the protocol, and its building blocks: aggregation of kernels, padding of inputs, one native conv."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from dashfx.ops.geometry import ConvSpec, Lattice, Points
from dashfx.space import Padding


class Algorithm(Protocol):
    """y = sum_i coef_i * conv(x, weights_i) + bias, equal to `mixed_results` in value and in every gradient."""

    def __call__(
        self, x: Tensor, weights: Sequence[Tensor], coef: Tensor, spec: ConvSpec, bias: Tensor | None = None
    ) -> Tensor:
        """x (batch, in, *size), weights_i (out, in / groups, *kernel_i), coef (n,), bias (out,) -> (batch, out, *)"""
        ...


def pad(x: Tensor, padding: Padding, mode: str = "zeros") -> Tensor:
    """Extend x by `mode` where the padding is positive, then crop where it is negative: modes always see all of x."""
    grow = [max(0, side) for axis in reversed(padding) for side in axis]
    if any(grow):
        x = F.pad(x, grow, "constant" if mode == "zeros" else mode)
    for axis, (left, right) in enumerate(padding, start=2):
        if left < 0 or right < 0:
            start = max(0, -left)
            x = x.narrow(axis, start, x.shape[axis] - start - max(0, -right))
    return x


def extend(x: Tensor, spec: ConvSpec) -> tuple[Tensor, ConvSpec]:
    """Replace circular, reflect or replicate padding by an input that is padded once, for all terms together."""
    if spec.padding_mode == "zeros":
        return x, spec
    return pad(x, spec.margins(), spec.padding_mode), spec.extended(tuple(x.shape[2:]))[0]


def convolve(x: Tensor, kernel: Tensor, points: Points, spec: ConvSpec, bias: Tensor | None = None) -> Tensor:
    """One native conv whose taps lie at the offsets `points`, zeros around x: (batch, in, *) -> (batch, out, *)."""
    outputs = spec.outputs(tuple(x.shape[2:]))
    padding = tuple((-p[0], o[-1] + p[-1] - n + 1) for p, o, n in zip(points, outputs, x.shape[2:], strict=True))
    dilation = tuple(p.step if len(p) > 1 else 1 for p in points)
    # A conv that pads both sides by `left` saves a copy of x; right where it yields no outputs beyond ours.
    native = [
        left >= 0 and 0 <= left - right < s and not _overruns(x, p, n)
        for (left, right), s, p, n in zip(padding, spec.stride, points, x.shape[2:], strict=True)
    ]
    lefts = [left if ok else 0 for (left, _), ok in zip(padding, native, strict=True)]
    x = pad(x, tuple((0, 0) if ok else sides for sides, ok in zip(padding, native, strict=True)))
    return CONVS[spec.ndim](x, kernel, bias, spec.stride, lefts, dilation, spec.groups)


def _overruns(x: Tensor, points: range, size: int) -> bool:
    """Whether the taps span more than the input where PyTorch's own padding is not safe then.

    On the CPU, the backward pass of conv2d then writes outside of its memory for kernels such as (190, 1) on inputs of
    (127, 1) (torch 2.13 with oneDNN); without padding all taps lie inside.
    """
    return x.device.type == "cpu" and x.ndim > 3 and points[-1] - points[0] >= size


CONVS: dict[int, Any] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


def aggregate(lattices: Sequence[Lattice], weights: Sequence[Tensor], coef: Tensor) -> tuple[Tensor, ...]:
    """Per lattice sum_i coef_i * weights_i at its points: (out, in / groups, *lattice.shape)."""
    return _Aggregate.apply(tuple(lattices), coef.to(weights[0].dtype), *weights)


class _Aggregate(torch.autograd.Function):
    """Adds each kernel to a strided slice of its frame: no padded copies, nothing saved but the kernels themselves.

    A term lies on one lattice at most.
    """

    @staticmethod
    def forward(ctx: Any, lattices: tuple[Lattice, ...], coef: Tensor, *weights: Tensor) -> tuple[Tensor, ...]:
        ctx.save_for_backward(coef, *weights)
        ctx.lattices = lattices
        frames = tuple(weights[0].new_zeros(*weights[0].shape[:2], *lattice.shape) for lattice in lattices)
        coefs = coef.unbind()
        for lattice, frame in zip(lattices, frames, strict=True):
            for slot in lattice.slots:
                frame[at(slot.place)].addcmul_(weights[slot.term][at(slot.taps)], coefs[slot.term])
        return frames

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        coef, *weights = ctx.saved_tensors
        found: list[Tensor | None] = [None] * len(weights)
        coefs, parts = coef.unbind(), [coef.new_zeros(())] * len(weights)
        for lattice, grad in zip(ctx.lattices, grads, strict=True):
            for slot in lattice.slots:
                g, term = grad[at(slot.place)].contiguous(), slot.term
                if ctx.needs_input_grad[1]:
                    parts[term] = torch.dot(g.view(-1), weights[term][at(slot.taps)].reshape(-1))
                if ctx.needs_input_grad[2 + term]:
                    found[term] = _embedded(g * coefs[term], slot.taps, weights[term])
        needs = zip(found, weights, ctx.needs_input_grad[2:], strict=True)
        grad_weights = [torch.zeros_like(w) if need and g is None else g for g, w, need in needs]
        return None, torch.stack(parts) if ctx.needs_input_grad[1] else None, *grad_weights


def _embedded(values: Tensor, taps: tuple[slice, ...], like: Tensor) -> Tensor:
    """The values at some taps of a kernel, zeros at the others."""
    if values.shape == like.shape:
        return values
    kernel = torch.zeros_like(like)
    kernel[at(taps)] = values
    return kernel


def at(slices: tuple[slice, ...]) -> tuple[Any, ...]:
    """An index of the last axes."""
    return (..., *slices)
