"""Kernels are mixed first and convolved as a product of spectra (DASH): the cost hardly grows with the candidates.

y[p] = sum_o k[o] x[p + o] is Y = X conj(K). The period is the shortest at which nothing wraps around, after dropping
the taps that cannot reach the input; circular padding wraps around on purpose and has the period of the input. Three
more things keep the work small, all exact:

1. A strided conv is a sum over phases r: with x_r[m] = x[s m + r] and the taps at offsets o = s q + r,
   y[p] = sum_r sum_q k_r[q] x_r[p + q]. So each phase has stride 1 and a period s times shorter.
2. A long axis is cut into windows that overlap by the reach of the taps, one more batch axis.
3. Spectra are made, multiplied and undone a slice of frequencies at a time, small enough for the processor's cache.
   The backward pass starts from half-made spectra, about twice the size of the input; or it makes them once more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from dashfx.ops.algorithms.base import aggregate, extend
from dashfx.ops.algorithms.fourier_plan import FourierPlan, Phase, plan_for, wraps
from dashfx.ops.algorithms.mixed_weights import MixedWeights
from dashfx.ops.algorithms.products import Dense, Depthwise, product_over_channels
from dashfx.ops.geometry import ConvSpec


@dataclass(frozen=True)
class Fourier:
    """In float32 at least: half precision is cast up, autocast is off inside, and the result is cast back.

    Attributes:
        recompute: keep nothing for the backward pass but the input and the mixed kernels, for a tenth more time.
    """

    recompute: bool = False

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
            y = _Correlate.apply(plan, self.recompute, x, *aggregate(plan.lattices, weights, coef))
            if plan.windows:
                y = plan.windows.join(y, spec.output_size(size)[0])
            if bias is not None:
                y = y + bias.to(y.dtype).view(-1, *[1] * spec.ndim)
        return y.to(dtype)


def _at_least_float32(t: Tensor) -> Tensor:
    return t.float() if t.dtype in (torch.float16, torch.bfloat16) else t


class _Correlate(torch.autograd.Function):
    """y (batch, out, *outputs) from x (batch, in, *size) and one kernel (out, in / groups, *lattice) per lattice.

    Backward: dX = dY K, dK = X conj(dY), the transposed transforms around them.
    """

    @staticmethod
    def forward(ctx: Any, plan: FourierPlan, recompute: bool, x: Tensor, *kernels: Tensor) -> Tensor:
        job = _Job(plan, x, kernels)
        ctx.plan, ctx.kernels, ctx.recompute = plan, len(kernels), recompute
        ctx.save_for_backward(x, *kernels, *(() if recompute else chain.from_iterable(job.opened)))
        if not plan.phases:  # with a stride, taps within reach may still miss every input
            return x.new_zeros(len(x), kernels[0].shape[0], *map(len, plan.outputs.points[0]))
        out_spectrum = job.room(job.y_rows)
        # what is not kept may be written over: each block's output takes the place of the input that it came from
        gathered = plan.outputs.blank(job.y_rows, job.opened[-1][0] if recompute else x.new_empty(0))
        for blocks in job.slices():
            y = job.part(out_spectrum, blocks)
            for i in range(len(plan.phases)):
                job.channels.output(*job.spectra(i, blocks), y, add=i > 0)
            plan.outputs.adjoint(y, blocks, gathered)
        (rows,) = plan.outputs.close(gathered)
        return job.channels.batch(rows).data  # not as a view: autograd would refuse a ReLU in place on it

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        plan, (x, *saved) = ctx.plan, ctx.saved_tensors
        kernels, kept = saved[: ctx.kernels], [] if ctx.recompute else saved[ctx.kernels :]
        # gradients are written over what was kept, past autograd's check, so a second backward pass makes it again
        ctx.recompute, kept = True, [t.data for t in kept]
        job = _Job(plan, x, kernels, list(zip(kept[::2], kept[1::2], strict=True)))
        to_x, to_kernels = ctx.needs_input_grad[2], any(ctx.needs_input_grad[3:])
        room_g, room_x, room_k = job.room(job.y_rows), job.room(job.x_rows), job.room(job.k_rows)
        opened = plan.outputs.open([job.channels.rows(grad.contiguous())])
        # each block's gradient takes the place of what it was computed from
        grads = [
            (phase.inputs.blank(job.x_rows, source), phase.taps.blank(job.k_rows, taps))
            for phase, (source, taps) in zip(plan.phases, job.opened, strict=True)
        ]
        for blocks in job.slices():
            g = job.part(room_g, blocks)
            plan.outputs.analyse(opened, blocks, g)
            for i, phase in enumerate(plan.phases):
                source, kernel = job.spectra(i, blocks)
                if to_x:
                    part = job.part(room_x, blocks)
                    job.channels.grad_input(g, kernel, part)
                    phase.inputs.adjoint(part, blocks, grads[i][0])
                if to_kernels:
                    part = job.part(room_k, blocks)
                    job.channels.grad_kernel(g, source, part)
                    phase.taps.adjoint(part, blocks, grads[i][1])
        grad_x = job.grad_x([x for x, _ in grads]) if to_x else None
        return None, None, grad_x, *(job.grad_kernels([k for _, k in grads]) if to_kernels else [None] * len(kernels))


class _Job:
    """The tensors of one correlation: what all slices share, and room for the spectra of one."""

    def __init__(
        self, plan: FourierPlan, x: Tensor, kernels: Sequence[Tensor], opened: Sequence[tuple[Tensor, Tensor]] = ()
    ) -> None:
        out_channels, group_in = kernels[0].shape[:2]
        self.plan, self.x, self.kernels = plan, x, kernels
        self.channels: Dense | Depthwise = product_over_channels(len(x), plan.groups, out_channels, group_in)
        self.x_rows, self.y_rows = len(x) * x.shape[1], len(x) * out_channels
        self.k_rows = out_channels * group_in
        rows = self.x_rows + self.y_rows + self.k_rows
        self._step = plan.blocks_in_slice(rows, x.element_size(), x.device.type)
        self.opened = opened or [self._open(phase) for phase in plan.phases]
        self._room_x, self._room_k = self.room(self.x_rows), self.room(self.k_rows)

    def slices(self) -> Iterator[range]:
        blocks, step = self.plan.outputs.blocks, self._step
        return (range(start, min(start + step, blocks)) for start in range(0, blocks, step))

    def room(self, rows: int) -> Tensor:
        """For one slice of a spectrum."""
        return self.x.new_empty(2, self._step * self.plan.outputs.block, rows)

    def part(self, room: Tensor, blocks: range) -> Tensor:
        return room[:, : len(blocks) * self.plan.outputs.block]

    def spectra(self, i: int, blocks: range) -> tuple[Tensor, Tensor]:
        """Of the inputs and of the kernel of phase i."""
        phase, (source, taps) = self.plan.phases[i], self.opened[i]
        x, k = self.part(self._room_x, blocks), self.part(self._room_k, blocks)
        phase.inputs.analyse(source, blocks, x)
        phase.taps.analyse(taps, blocks, k)
        return x, k

    def grad_x(self, gathered: Sequence[Tensor]) -> Tensor:
        parts = [p.inputs.close(g)[0] for p, g in zip(self.plan.phases, gathered, strict=True)]
        if len(parts) == 1 and parts[0].shape[1:] == self.x.shape[2:]:
            return self.channels.batch(parts[0])
        covered = sum(part.numel() for part in parts) == self.x.numel()
        grad = (torch.empty_like if covered else torch.zeros_like)(self.x)
        for phase, part in zip(self.plan.phases, parts, strict=True):
            grad[phase.index] = self.channels.batch(part)
        return grad

    def grad_kernels(self, gathered: Sequence[Tensor]) -> list[Tensor]:
        grads: dict[int, Tensor] = {}
        for phase, own in zip(self.plan.phases, gathered, strict=True):
            for (i, place), values in zip(phase.places, phase.taps.close(own), strict=True):
                values = values.unflatten(0, self.kernels[i].shape[:2])
                if values.shape == self.kernels[i].shape:  # no other phase has taps of this lattice
                    grads[i] = values
                else:
                    grads.setdefault(i, torch.zeros_like(self.kernels[i]))[place] = values
        return [grads[i] if i in grads else torch.zeros_like(kernel) for i, kernel in enumerate(self.kernels)]

    def _open(self, phase: Phase) -> tuple[Tensor, Tensor]:
        source = phase.inputs.open([self.channels.rows(self.x[phase.index])])
        return source, phase.taps.open([self.kernels[i][place].flatten(0, 1) for i, place in phase.places])
