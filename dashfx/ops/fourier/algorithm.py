"""Convolution by Fourier transforms: kernels are mixed first and convolved as a product of spectra (DASH), so that the
cost hardly grows with the candidates.

y[p] = sum_o k[o] x[p + o] is Y = X conj(K). The period is the shortest at which nothing wraps around, after dropping
the taps that cannot reach the input; circular padding wraps around on purpose and has the period of the input. Three
more things keep the work small, all exact:

1. A strided conv is a sum over phases r: with x_r[m] = x[s m + r] and the taps at offsets o = s q + r,
   y[p] = sum_r sum_q k_r[q] x_r[p + q]. So each phase has stride 1 and a period s times shorter.
2. A long axis is cut into windows that overlap by the reach of the taps, one more batch axis.
3. Spectra are made, multiplied and undone a slice of frequencies at a time, small enough for the processor's cache.
   The backward pass starts from partial spectra, about twice the size of the input; or it makes them once more.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from dashfx.ops.algorithms.base import aggregate, extend
from dashfx.ops.algorithms.mixed_weights import MixedWeights
from dashfx.ops.fourier.buffers import pool_for
from dashfx.ops.fourier.plan import FourierPlan, Phase, plan_for, wraps
from dashfx.ops.fourier.products import Channels
from dashfx.ops.fourier.transforms import Chunk
from dashfx.ops.geometry import ConvSpec


@dataclass(frozen=True)
class Fourier:
    """In float32 at least: half precision is cast up, autocast is off inside, and the result is cast back.

    Attributes:
        recompute: keep nothing for the backward pass but the input and the mixed kernels, for a tenth more time.
    """

    recompute: bool = False

    # plans and buffers belong to sizes and threads, which a compiled graph leaves open
    @torch.compiler.disable(reason="the Fourier path runs outside of compiled graphs: leave out fullgraph=True")
    def __call__(
        self, x: Tensor, weights: Sequence[Tensor], coef: Tensor, spec: ConvSpec, bias: Tensor | None = None
    ) -> Tensor:
        if not len(x):  # an empty batch, as detectors have: no matrix products of nothing
            return MixedWeights()(x, weights, coef, spec, bias)
        kind = x.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
        with torch.autocast(kind, enabled=False):
            x, coef, *weights = (_at_least_float32(t) for t in (x, coef, *weights))
            size = tuple(x.shape[2:])
            plan = plan_for(spec, size)
            if not wraps(spec, size):
                x, _ = extend(x, spec)
            if plan.windows:
                x = plan.windows.cut(x)
            bias = None if bias is None else bias.to(x.dtype)
            y = _Correlate.apply(plan, self.recompute, x, bias, *aggregate(plan.lattices, weights, coef))
            if plan.windows:
                y = plan.windows.join(y, spec.output_size(size)[0])
        return y.to(dtype)


def _at_least_float32(t: Tensor) -> Tensor:
    return t.float() if t.dtype in (torch.float16, torch.bfloat16) else t


class _Correlate(torch.autograd.Function):
    """y (batch, out, *outputs) from x (batch, in, *size), bias (out,) and per lattice a kernel (out, in / groups, *).

    Backward: dX = dY K, dK = X conj(dY), the transposed transforms around them. A constant is frequency 0 and no other,
    so there the bias is added, and there its gradient is read.
    """

    @staticmethod
    def forward(
        ctx: Any, plan: FourierPlan, recompute: bool, x: Tensor, bias: Tensor | None, *kernels: Tensor
    ) -> Tensor:
        job = _Job(plan, x, kernels)
        partial, pool = job.partial(), job.pool
        ctx.plan, ctx.kernels, ctx.recompute = plan, len(kernels), recompute
        ctx.save_for_backward(x, *kernels, *(() if recompute else chain.from_iterable(partial)))
        gathered = plan.outputs.blank(job.channels.y_rows, pool.storage)
        chunks = zip(job.output_chunks(gathered), job.chunks(partial), strict=True)
        for work, (target, sources) in zip(pool.slices, chunks, strict=True):
            for i, (phase, (source, taps)) in enumerate(zip(work.phases, sources, strict=True)):
                phase.inputs.analyse(source)
                phase.taps.analyse(taps)
                work.product.output(add=i > 0)
            if not work.phases:  # with a stride, taps within reach may still miss every input
                work.output.zero_()
            if bias is not None and work is pool.slices[0]:
                pool.constants.add_(bias.view(len(pool.constants), 1, -1), alpha=plan.outputs.volume)
            work.outputs.adjoint(target)
        (rows,) = plan.outputs.finish(gathered, pool.scratch)
        return job.channels.unrows(rows).data  # not as a view: autograd would refuse a ReLU in place on it

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        plan, (x, *saved) = ctx.plan, ctx.saved_tensors
        kernels, kept = saved[: ctx.kernels], [] if ctx.recompute else saved[ctx.kernels :]
        # gradients are written over what was kept, past autograd's check, so a second backward pass makes it again
        ctx.recompute, kept = True, [t.data for t in kept]
        job = _Job(plan, x, kernels)
        partial = list(zip(kept[::2], kept[1::2], strict=True)) or job.partial()
        _, _, to_x, to_bias, *wanted = ctx.needs_input_grad
        to_kernels = any(wanted)
        arrived = plan.outputs.begin([job.channels.rows(grad.contiguous())], job.pool.storage, job.pool.scratch)
        grads, grad_bias = job.blanks(partial), None
        chunks = zip(job.output_chunks(arrived), job.chunks(partial), job.chunks(grads), strict=True)
        for work, (own, sources, targets) in zip(job.pool.slices, chunks, strict=True):
            work.outputs.analyse(own)
            if to_bias and work is job.pool.slices[0]:
                grad_bias = plan.outputs.volume * job.pool.constants.sum(1).flatten()
            for phase, (source, taps), (to_source, to_taps) in zip(work.phases, sources, targets, strict=True):
                # both are read before a gradient takes the place of either
                if to_kernels:
                    phase.inputs.analyse(source)
                if to_x:
                    phase.taps.analyse(taps)
                if to_kernels:
                    work.product.grad_kernel()
                    phase.grad_taps.adjoint(to_taps)
                if to_x:
                    work.product.grad_input()
                    phase.inputs.adjoint(to_source)
        grad_x = job.grad_x([x for x, _ in grads]) if to_x else None
        grad_kernels = job.grad_kernels([k for _, k in grads]) if to_kernels else [None] * len(kernels)
        return None, None, grad_x, grad_bias, *grad_kernels


Partial = Sequence[tuple[Tensor, Tensor]]  # per phase what the transforms of inputs and taps returned


class _Job:
    """The operands of one correlation, and the buffer pool that it is done in."""

    def __init__(self, plan: FourierPlan, x: Tensor, kernels: Sequence[Tensor]) -> None:
        out_channels, group_in = kernels[0].shape[:2]
        self.plan, self.x, self.kernels, self._new = plan, x, kernels, x.new_empty(0)
        self.channels = Channels(len(x), plan.groups, out_channels // plan.groups, group_in)
        self.pool = pool_for(plan, self.channels, x)

    def partial(self) -> Partial:
        return [self._begin(phase) for phase in self.plan.phases]

    def blanks(self, partial: Partial) -> Partial:
        """For gradients: where each slice's may take the place of what they were computed from, or new."""
        rows = self.channels
        return [
            (
                source if phase.inputs.in_place else phase.inputs.blank(rows.x_rows, self._new),
                taps if phase.taps.in_place else phase.taps.blank(rows.k_rows, self._new),
            )
            for phase, (source, taps) in zip(self.plan.phases, partial, strict=True)
        ]

    def chunks(self, partial: Partial) -> Iterable[Sequence[tuple[Chunk, Chunk]]]:
        """Per slice and phase those of the inputs and of the taps."""
        phases = [
            zip(phase.inputs.chunks(source, self.pool.step), phase.taps.chunks(taps, self.pool.step), strict=True)
            for phase, (source, taps) in zip(self.plan.phases, partial, strict=True)
        ]
        return zip(*phases, strict=True) if phases else [()] * len(self.pool.slices)

    def output_chunks(self, partial: Tensor) -> Sequence[Chunk]:
        return self.plan.outputs.chunks(partial, self.pool.step)

    def grad_x(self, gathered: Sequence[Tensor]) -> Tensor:
        parts = [p.inputs.finish(g, self.pool.scratch)[0] for p, g in zip(self.plan.phases, gathered, strict=True)]
        if len(parts) == 1 and parts[0].shape[1:] == self.x.shape[2:]:
            return self.channels.unrows(parts[0])
        covered = sum(part.numel() for part in parts) == self.x.numel()
        grad = (torch.empty_like if covered else torch.zeros_like)(self.x)
        for phase, part in zip(self.plan.phases, parts, strict=True):
            grad[phase.index] = self.channels.unrows(part)
        return grad

    def grad_kernels(self, gathered: Sequence[Tensor]) -> list[Tensor]:
        grads: dict[int, Tensor] = {}
        for phase, own in zip(self.plan.phases, gathered, strict=True):
            for (i, place), values in zip(phase.places, phase.taps.finish(own, self.pool.scratch), strict=True):
                values = values.unflatten(0, self.kernels[i].shape[:2])
                if values.shape == self.kernels[i].shape:  # no other phase has taps of this lattice
                    grads[i] = values
                else:
                    grads.setdefault(i, torch.zeros_like(self.kernels[i]))[place] = values
        return [grads[i] if i in grads else torch.zeros_like(kernel) for i, kernel in enumerate(self.kernels)]

    def _begin(self, phase: Phase) -> tuple[Tensor, Tensor]:
        source = phase.inputs.begin([self.channels.rows(self.x[phase.index])], self._new, self.pool.scratch)
        taps = [self.kernels[i][place].flatten(0, 1) for i, place in phase.places]
        return source, phase.taps.begin(taps, self._new, self.pool.scratch)
