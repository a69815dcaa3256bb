"""The plan of a convolution by Fourier transforms: the facts of a conv and an input size go in, transforms, phases and
windows come out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from operator import sub
from typing import Any

import torch
from torch import Tensor

from dashfx.ops.algorithms.base import pad
from dashfx.ops.fourier.axis_by_axis import AxisTransform
from dashfx.ops.fourier.matrices import for_threads
from dashfx.ops.fourier.products import Channels
from dashfx.ops.fourier.transforms import DirectTransform, FftTransform, Transform
from dashfx.ops.fourier.two_step import TwoStepTransform
from dashfx.ops.geometry import ConvSpec, Lattice, Points, Size, dilated_lattices

# Bytes of spectra in one slice: on a CPU they should stay in a core's cache, elsewhere fewer and larger calls win.
SLICE_CPU, SLICE = 4 << 20, 1 << 28
LEAST = 24  # frequencies in a slice: with fewer, matrices are too thin
# The longest periods for matrices, beyond which an FFT is faster; a single axis can be done in one step or in two.
LONGEST_MATRIX = 320
LONGEST_STEP, LONGEST_STEPS = 96, 8192
WINDOW, REACHES = 512, 8  # a window of a long axis has so many outputs, and so many times the reach of the taps


Index = tuple[Any, ...]  # an ellipsis for batch and channels, then a slice per axis
Term = tuple[Index, Points, list[tuple[int, Index, Points]]]


@dataclass(frozen=True)
class Phase:
    """One term of a strided conv: the inputs at `index` and, per lattice, the part of its kernel with taps on them."""

    index: Index
    places: tuple[tuple[int, Index], ...]  # (lattice, part of its kernel)
    taps: Transform


@dataclass(frozen=True)
class Windows:
    """How a long axis is cut: `count` pieces of `size` inputs, the first at `start`, each `hop` after the last."""

    count: int
    size: int
    start: int
    hop: int

    def cut(self, x: Tensor) -> Tensor:
        """(batch, channels, n) -> (batch * count, channels, size), zeros where a window sticks out"""
        right = self.start + (self.count - 1) * self.hop + self.size - x.shape[2]
        pieces: Tensor = _Overlapping.apply(pad(x, ((-self.start, right),)), self)
        return pieces

    def join(self, y: Tensor, outputs: int) -> Tensor:
        """(batch * count, channels, outputs of a window) -> (batch, channels, outputs)"""
        return y.unflatten(0, (-1, self.count)).transpose(1, 2).flatten(2)[..., :outputs]


class _Overlapping(torch.autograd.Function):
    """The windows of a padded input; PyTorch's own gradient of `unfold` runs on one thread."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, windows: Windows) -> Tensor:
        ctx.windows, ctx.shape = windows, x.shape
        return x.unfold(2, windows.size, windows.hop).transpose(1, 2).flatten(0, 1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        size, hop = ctx.windows.size, ctx.windows.hop
        total = grad.new_zeros(ctx.shape)
        for i, piece in enumerate(grad.unflatten(0, (-1, ctx.windows.count)).unbind(1)):
            total[..., i * hop : i * hop + size] += piece
        return total, None


@dataclass(frozen=True, eq=False)
class FourierPlan:
    """How inputs of one size are convolved: lattices are the taps merged by dilation, phases those of the stride.

    Inputs of all phases are transformed as one, as further channels; a shorter phase ends in zeros.
    """

    lattices: tuple[Lattice, ...]
    phases: tuple[Phase, ...]
    inputs: Transform
    outputs: Transform
    groups: int
    windows: Windows | None = None

    @property
    def frequencies(self) -> int:
        return self.outputs.blocks * self.outputs.block

    def work(self, batch: int, channels: int, out_channels: int) -> tuple[float, float]:
        """Multiplications of a forward pass: in the transforms, and in the products over channels."""
        images, tap = self._images(batch), out_channels * channels // self.groups
        transforms = self.outputs.work(images * out_channels)
        transforms += self.inputs.work(images * channels * len(self.phases))
        transforms += sum(phase.taps.work(tap) for phase in self.phases)
        return transforms, 4.0 * self.frequencies * len(self.phases) * images * tap

    def partial_numbers(self, batch: int, channels: int, out_channels: int) -> int:
        """Numbers in the partial spectra of inputs and kernels."""
        images, tap = self._images(batch), out_channels * channels // self.groups
        inputs = self.inputs.held(images * channels * len(self.phases))
        return inputs + sum(phase.taps.held(tap) for phase in self.phases)

    def held(self, batch: int, channels: int, out_channels: int, itemsize: int = 4) -> int:
        """Numbers that a backward pass on a CPU holds beside its arguments, results and partial spectra."""
        own = self.channels(batch, channels, out_channels)
        spectra = self.blocks_in_slice(own.numbers, itemsize, "cpu") * self.outputs.block * own.numbers
        return self.outputs.held(own.y_rows) + spectra

    def channels(self, batch: int, channels: int, out_channels: int) -> Channels:
        """The rows of operands for inputs (batch, channels, *size)."""
        g = self.groups
        return Channels(self._images(batch), g, out_channels // g, channels // g, len(self.phases))

    def blocks_in_slice(self, numbers: int, itemsize: int, device: str) -> int:
        """How many blocks of frequencies are done at once, for so many numbers of all operands a frequency."""
        block, blocks = self.outputs.block, self.outputs.blocks
        most = SLICE_CPU * torch.get_num_threads() if device == "cpu" else SLICE
        fit = max(1, LEAST // block, most // (itemsize * block * numbers))
        step = -(-blocks // -(-blocks // fit))  # slices of equal size
        return min(blocks, for_threads(step)) if device == "cpu" else step

    def _images(self, batch: int) -> int:
        return batch * (self.windows.count if self.windows else 1)


def wraps(spec: ConvSpec, size: Size) -> bool:
    """Whether circular padding is had from the period; else the input is padded."""
    longest = LONGEST_STEP if spec.ndim == 1 else LONGEST_MATRIX
    periods = [n // s for n, s in zip(size, spec.stride, strict=True) if n % s == 0]
    return spec.padding_mode == "circular" and len(periods) == spec.ndim and max(periods) <= longest


@lru_cache(maxsize=1024)
def plan_for(spec: ConvSpec, size: Size) -> FourierPlan:
    """The plan for inputs of `size` before any padding."""
    circular = wraps(spec, size)
    if not circular:
        spec, size = spec.extended(size)
    lattices = dilated_lattices(spec, None if circular else size)
    points, outputs = [lattice.points for lattice in lattices], spec.output_size(size)
    windows = None if circular else _windows_of(points, spec, size)
    if windows is not None:
        points = [(_moved(own, -windows.start),) for (own,) in points]
        size, outputs = (windows.size,), (windows.hop // spec.stride[0],)
    terms = list(_terms(points, size, spec.stride))
    period = tuple(n // s for n, s in zip(size, spec.stride, strict=True)) if circular else _period(terms, outputs)
    make = _transforms_of(period, size, outputs)
    middle = tuple(m - 1 for m in outputs)
    inputs = tuple(map(range, map(max, zip(*(map(len, term[1]) for term in terms), strict=True)) if terms else outputs))
    own = tuple(len(axis) - 1 for axis in inputs)
    phases = []
    for index, _, parts in terms:
        taps = make(*(part[2] for part in parts), middle=tuple(map(sub, own, middle)), few=True)
        phases.append(Phase(index, tuple(part[:2] for part in parts), taps))
    out = make(tuple(map(range, outputs)), middle=middle, weighted=True)
    return FourierPlan(lattices, tuple(phases), make(inputs, middle=own), out, spec.groups, windows)


def _terms(lattices: Sequence[Points], size: Size, stride: Size) -> Iterator[Term]:
    """Per phase of the stride the index of its inputs, their positions, and its part of each lattice."""
    for phase in product(*map(range, stride)):
        inputs = tuple(range(len(range(r, n, s))) for r, n, s in zip(phase, size, stride, strict=True))
        parts = []
        for i, lattice in enumerate(lattices):
            axes = [_on_phase(own, r, s) for own, r, s in zip(lattice, phase, stride, strict=True)]
            place, points = (..., *(a for a, _ in axes)), tuple(p for _, p in axes)
            if all(points):
                parts.append((i, place, points))
        if parts and all(inputs):
            index = (..., *(slice(r, None, s) for r, s in zip(phase, stride, strict=True)))
            yield index, inputs, parts


def _on_phase(offsets: range, phase: int, stride: int) -> tuple[slice, range]:
    """Which offsets are phase + stride * q, and these q."""
    every = stride // math.gcd(offsets.step, stride)
    first = next((j for j, o in enumerate(offsets[:every]) if (o - phase) % stride == 0), len(offsets))
    chosen = offsets[first::every]
    points = range((chosen.start - phase) // stride, (chosen.stop - phase) // stride + 1, chosen.step // stride or 1)
    return slice(first, None, every), points[: len(chosen)]


def _period(terms: Sequence[Term], outputs: Size) -> Size:
    """The least one at which p + o - n, for output p, offset o and input n, is a multiple of it at 0 only."""
    lengths = [1] * len(outputs)
    for _, inputs, parts in terms:
        for axis, (own, m) in enumerate(zip(inputs, outputs, strict=True)):
            low, high = min(p[axis][0] for *_, p in parts), max(p[axis][-1] for *_, p in parts)
            lengths[axis] = max(lengths[axis], len(own) - low, m + high)
    return tuple(lengths)


def _windows_of(lattices: Sequence[Points], spec: ConvSpec, size: Size) -> Windows | None:
    if spec.ndim > 1:
        return None
    (outputs,), (stride,) = spec.output_size(size), spec.stride
    low, high = min(own[0] for (own,) in lattices), max(own[-1] for (own,) in lattices)
    each = max(WINDOW, REACHES * (high - low) // stride)
    if outputs < 2 * each:
        return None
    count = outputs // each
    each = -(-outputs // count)
    return Windows(count, stride * (each - 1) + high - low + 1, low, stride * each)


def _moved(points: range, by: int) -> range:
    return range(points.start + by, points.stop + by, points.step)


def _transforms_of(period: Size, size: Size, outputs: Size) -> Callable[..., Transform]:
    """What makes the transforms of a plan with at least this period.

    make(*points, middle, weighted, few): positions are counted from middle / 2, a tap's as an input's less an output's;
    few points, or a whole axis.
    """
    if len(period) == 1 and period[0] <= LONGEST_STEPS:
        steps = _steps(period[0], max(size[0], outputs[0]))

        def make(*points: Points, middle: Size, weighted: bool = False, few: bool = False) -> Transform:
            if few or steps[1] == 1:
                return DirectTransform(steps, points, middle[0], weighted, few)
            return TwoStepTransform(steps, points, middle[0], weighted)

        return make
    if max(period) <= LONGEST_MATRIX:
        return lambda *points, middle, weighted=False, few=False: AxisTransform(period, points, middle, weighted)
    fast = tuple(_fast_length(n) for n in period)
    return lambda *points, middle, weighted=False, few=False: FftTransform(fast, points, weighted)


def _steps(period: int, points: int) -> tuple[int, int]:
    """N1 and N2 with N1 N2 >= period and the least work for `points` points."""
    if period <= LONGEST_STEP:
        return period, 1

    def work(n2: int) -> float:
        n1, p1 = -(-period // n2), -(-points // n2)
        return (n1 // 2 + 1) * n2 * (2 * p1 + 4 * n2) * (1.0 if points % n2 == 0 else 1.1)  # 1.1: a padded copy

    n2 = min(range(2, math.isqrt(period) + 1), key=work)
    return -(-period // n2), n2


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
