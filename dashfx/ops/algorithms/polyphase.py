"""Polyphase products: positions that a dilation keeps apart are convolved apart, each phase by one matrix product.

With dilation d the outputs at q, q + d, q + 2 d ... read inputs of one phase only. Where taps are far apart, a phase
has few positions, and its conv is the product with the small matrix T[b, a] = k[a - b] (Toeplitz), which is the same
for all phases and images. Taps that would only read padding cost nothing then.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from torch import Tensor

from dashfx.ops.algorithms.base import aggregate, convolve, extend, pad
from dashfx.ops.geometry import ConvSpec, Points, Size, dilated_lattices


class Polyphase:
    """One product per dilation. A strided conv, and one whose phases are long, is left to a native conv."""

    def __call__(
        self, x: Tensor, weights: Sequence[Tensor], coef: Tensor, spec: ConvSpec, bias: Tensor | None = None
    ) -> Tensor:
        x, spec = extend(x, spec)
        size, total = tuple(x.shape[2:]), None
        lattices = dilated_lattices(spec, size)
        for lattice, kernel in zip(lattices, aggregate(lattices, weights, coef), strict=True):
            phases = phases_of(lattice.points, spec, size) if len(x) else None
            first = bias if total is None else None
            y = (
                convolve(x, kernel, lattice.points, spec, first)
                if phases is None
                else product(x, kernel, phases, first)
            )
            total = y if total is None else total + y
        assert total is not None  # there is one lattice at least
        return total


LONGEST = 128  # inputs of a phase: with more its matrix is larger than the images


@dataclass(frozen=True)
class Phases:
    """How the taps of one lattice are taken apart; of each axis one number.

    Attributes:
        dilation: phases.
        inputs, outputs: positions of a phase, zeros around the images included.
        start: the first input's place.
        first: tap of the first input at the first output.
        size: of the images, and `results` of what comes out.
    """

    dilation: Size
    inputs: Size
    outputs: Size
    start: Size
    first: Size
    size: Size
    results: Size
    groups: int

    @property
    def taps(self) -> int:
        """Multiplications for each input channel and padded output position."""
        return math.prod(self.inputs)

    @property
    def positions(self) -> int:
        return math.prod(self.outputs) * math.prod(self.dilation)


@lru_cache(maxsize=4096)
def phases_of(points: Points, spec: ConvSpec, size: Size) -> Phases | None:
    """None where the conv is better left to a native one."""
    if any(stride != 1 for stride in spec.stride):
        return None
    results = spec.output_size(size)
    steps = tuple(p.step if len(p) > 1 else max(n, m) for p, n, m in zip(points, size, results, strict=True))
    axes = [_axis(p[0], len(p), d, n, m) for p, d, n, m in zip(points, steps, size, results, strict=True)]
    inputs, outputs, start, first = zip(*axes, strict=True)
    if math.prod(inputs) > LONGEST:
        return None
    return Phases(steps, inputs, outputs, start, first, size, results, spec.groups)


def _axis(offset: int, taps: int, d: int, n: int, m: int) -> tuple[int, int, int, int]:
    """Inputs and outputs of a phase, the first input's place, and the tap that it is at the first output.

    Output d b + q reads the place d (b + t) + q + offset; of b + t only those count that some q puts into the input.
    """
    outputs = -(-m // d)
    low = max(0, -((offset + d - 1) // d))
    high = min(outputs + taps - 2, (n - 1 - offset) // d)
    return max(1, high - low + 1), outputs, d * low + offset, low


def product(x: Tensor, kernel: Tensor, phases: Phases, bias: Tensor | None) -> Tensor:
    """(batch, in, *size), (out, in / groups, *taps) -> (batch, out, *results)"""
    batch, groups, ndim = len(x), phases.groups, len(phases.size)
    facts = zip(phases.start, phases.inputs, phases.dilation, phases.size, strict=True)
    x = pad(x, tuple((-start, start + count * d - n) for start, count, d, n in facts))
    apart = x.reshape(batch, groups, -1, *_pairs(phases.inputs, phases.dilation))
    own, phase = range(3, 3 + 2 * ndim, 2), range(4, 4 + 2 * ndim, 2)
    columns = apart.permute(1, 2, *own, 0, *phase).reshape(groups, -1, batch * math.prod(phases.dilation))
    rows = _matrix(kernel, phases) @ columns  # (groups, out * outputs of a phase, images * phases)
    y = rows.view(groups, -1, *phases.outputs, batch, *phases.dilation)
    places = [axis for i in range(ndim) for axis in (2 + i, 3 + ndim + i)]
    y = y.permute(2 + ndim, 0, 1, *places).reshape(
        batch, -1, *(b * d for b, d in zip(phases.outputs, phases.dilation, strict=True))
    )
    for axis, m in enumerate(phases.results, start=2):
        y = y.narrow(axis, 0, m)
    return y if bias is None else y + bias.to(y.dtype).view(-1, *[1] * ndim)


def _matrix(kernel: Tensor, phases: Phases) -> Tensor:
    """T[b, a] = k[a - b + first]: (groups, out * outputs of a phase, in * inputs of a phase)"""
    ndim, sides = len(phases.size), []
    for first, a, b, taps in zip(phases.first, phases.inputs, phases.outputs, kernel.shape[2:], strict=True):
        left = b - 1 - first
        sides.append((left, a + b - 1 - left - taps))
    windows = pad(kernel, tuple(sides))
    for axis, a in enumerate(phases.inputs, start=2):
        windows = windows.unfold(axis, a, 1)  # (out, in, *outputs in reverse, *inputs)
    windows = windows.flip(list(range(2, 2 + ndim))).unflatten(0, (phases.groups, -1))
    own = range(3, 3 + ndim)
    return windows.permute(0, 1, *own, 2, *range(3 + ndim, 3 + 2 * ndim)).flatten(1 + ndim + 1).flatten(1, 1 + ndim)


def _pairs(first: Size, second: Size) -> list[int]:
    return [n for pair in zip(first, second, strict=True) for n in pair]
