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
from typing import Any

import torch
from torch import Tensor

from dashfx.ops.algorithms.base import aggregate, extend
from dashfx.ops.algorithms.mixed_weights import MixedWeights
from dashfx.ops.fourier.buffers import PlanSlice, pool_for
from dashfx.ops.fourier.plan import FourierPlan, plan_for, wraps
from dashfx.ops.fourier.products import Channels
from dashfx.ops.fourier.rows import Parts
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
            if not plan.phases:  # with a stride, taps within reach may still miss every input
                return MixedWeights()(x, weights, coef, spec, bias).to(dtype)
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
        ctx.save_for_backward(x, *kernels, *(() if recompute else partial))
        gathered = plan.outputs.blank(job.channels.y_rows, pool.storage)
        chunks = zip(job.output_chunks(gathered), job.chunks(partial), strict=True)
        for work, (target, (source, taps)) in zip(pool.slices, chunks, strict=True):
            work.inputs.analyse(source)
            job.load(work, taps)
            work.product.output()
            if bias is not None and work is pool.slices[0]:
                pool.constants.add_(bias, alpha=plan.outputs.volume)
            work.outputs.adjoint(target)
        y = x.new_empty(len(x), len(kernels[0]), *(len(axis) for axis in plan.outputs.points[0]))
        plan.outputs.finish(gathered, [job.channels.parts([y])], pool.scratch)
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        plan, (x, *saved) = ctx.plan, ctx.saved_tensors
        kernels, kept = saved[: ctx.kernels], [] if ctx.recompute else saved[ctx.kernels :]
        # gradients are written over what was kept, past autograd's check, so a second backward pass makes it again
        ctx.recompute, kept = True, [t.data for t in kept]
        job = _Job(plan, x, kernels)
        partial = kept or job.partial()
        _, _, to_x, to_bias, *wanted = ctx.needs_input_grad
        to_kernels = any(wanted)
        arrived = plan.outputs.begin([job.channels.parts([grad.contiguous()])], job.pool.storage, job.pool.scratch)
        grads, grad_bias = job.blanks(partial), None
        chunks = zip(job.output_chunks(arrived), job.chunks(partial), job.chunks(grads), strict=True)
        for work, (own, (source, taps), (to_source, to_taps)) in zip(job.pool.slices, chunks, strict=True):
            work.outputs.analyse(own)
            if to_bias and work is job.pool.slices[0]:
                grad_bias = plan.outputs.volume * job.pool.constants.sum(0)
            # inputs and taps are read before a gradient takes the place of either
            if to_x:
                job.load(work, taps)
            if to_kernels:
                work.inputs.analyse(source)
                work.product.grad_kernel()
                job.unload(work, to_taps)
            if to_x:
                work.product.grad_input()
                work.inputs.adjoint(to_source)
        grad_x = job.grad_x(grads[0]) if to_x else None
        grad_kernels = job.grad_kernels(grads[1:]) if to_kernels else [None] * len(kernels)
        return None, None, grad_x, grad_bias, *grad_kernels


Partial = Sequence[Tensor]  # what the transform of the inputs returned, and that of each phase's taps


class _Job:
    """The operands of one correlation, and the buffer pool that it is done in."""

    def __init__(self, plan: FourierPlan, x: Tensor, kernels: Sequence[Tensor]) -> None:
        out_channels, group_in = kernels[0].shape[:2]
        self.plan, self.x, self.kernels, self._new = plan, x, kernels, x.new_empty(0)
        g = plan.groups
        self.channels = Channels(len(x), g, out_channels // g, group_in, len(plan.phases))
        self.pool = pool_for(plan, self.channels, x)

    def partial(self) -> Partial:
        scratch = self.pool.scratch
        found = [self.plan.inputs.begin([self._parts(self.x)], self._new, scratch)]
        for phase in self.plan.phases:
            taps = [[self.kernels[i][place]] for i, place in phase.places]
            found.append(phase.taps.begin(taps, self._new, scratch))
        return found

    def blanks(self, partial: Partial) -> Partial:
        """For gradients: where each slice's may take the place of what they were computed from, or new."""
        transforms = [self.plan.inputs, *(phase.taps for phase in self.plan.phases)]
        rows = [self.channels.x_rows] + [self.channels.k_rows] * len(self.plan.phases)
        return [
            source if transform.in_place else transform.blank(count, self._new)
            for transform, source, count in zip(transforms, partial, rows, strict=True)
        ]

    def chunks(self, partial: Partial) -> Iterable[tuple[Chunk, Sequence[Chunk]]]:
        """Per slice that of the inputs, and those of the taps of each phase."""
        step = self.pool.step
        taps = [p.taps.chunks(own, step) for p, own in zip(self.plan.phases, partial[1:], strict=True)]
        each = list(zip(*taps, strict=True)) if taps else [()] * len(self.pool.slices)
        return zip(self.plan.inputs.chunks(partial[0], step), each, strict=True)

    def output_chunks(self, partial: Tensor) -> Sequence[Chunk]:
        return self.plan.outputs.chunks(partial, self.pool.step)

    def load(self, work: PlanSlice, taps: Sequence[Chunk]) -> None:
        """The spectra of all phases' kernels, for the product."""
        for i, (own, chunk) in enumerate(zip(work.taps, taps, strict=True)):
            own.analyse(chunk)
            work.product.load(i)

    def unload(self, work: PlanSlice, taps: Sequence[Chunk]) -> None:
        for i, (own, chunk) in enumerate(zip(work.taps, taps, strict=True)):
            work.product.unload(i)
            own.adjoint(chunk)

    def grad_x(self, gathered: Tensor) -> Tensor:
        grad = _room(self.x, [phase.index for phase in self.plan.phases])
        self.plan.inputs.finish(gathered, [self._parts(grad)], self.pool.scratch)
        return grad

    def grad_kernels(self, gathered: Sequence[Tensor]) -> list[Tensor]:
        every = [place for phase in self.plan.phases for place in phase.places]
        grads = [_room(kernel, [at for i, at in every if i == own]) for own, kernel in enumerate(self.kernels)]
        for phase, values in zip(self.plan.phases, gathered, strict=True):
            phase.taps.finish(values, [[grads[i][at]] for i, at in phase.places], self.pool.scratch)
        return grads

    def _parts(self, images: Tensor) -> Parts:
        return self.channels.parts([images[phase.index] for phase in self.plan.phases])


def _room(like: Tensor, places: Sequence[Any]) -> Tensor:
    """For a gradient that is written at these places, each once; zero at others."""
    whole = sum(like[place].numel() for place in places) == like.numel()
    make = torch.empty_like if whole else torch.zeros_like
    return make(like, memory_format=torch.contiguous_format)
