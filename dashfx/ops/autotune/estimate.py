"""Cost estimates of each algorithm for an aggregated conv, for where nothing has been measured.

The estimate counts multiplications and weighs each kind by how fast it runs. The weights come from a coarse grid search
over 85 timings: 17 layers like those of `dashfx.ops.autotune.suite`, 5 spaces of 1 to 20 candidates, forward and
backward, float32, one CPU core that others used too. It knows nothing of GPUs or half precision.
"""

from __future__ import annotations

import math
from functools import lru_cache

from dashfx.ops.algorithms.polyphase import phases_of
from dashfx.ops.fourier.plan import FourierPlan, plan_for
from dashfx.ops.geometry import ConvSpec, Lattice, Size, dense_lattice, dilated_lattices

# Costs of one multiplication; in a native dense conv it is 1.
PRODUCT = 2.0  # in the small matrices of a product of spectra
DEPTHWISE, FEW_TAPS = 20.0, 9  # in a native depthwise conv of more than a few taps

# Of one candidate alone, from 384 timings of the suite's 2-D layers on one thread of an AMD EPYC (AVX-512).
FOURIER = 1.5
UNROLLED, WIDEST = 70.0, 28  # a number under a tap, where a native conv writes these out; a padding that it does not
CHANNELWISE, CHANNELWISE_DILATED = 12.0, 28.0  # in a native depthwise conv
REARRANGED = 70.0  # a number that is put in the order of phases


@lru_cache(maxsize=4096)
def choose_alone(spec: ConvSpec, shape: tuple[int, ...], out_channels: int) -> str:
    """The name in `ALGORITHMS` that promises the least work for the only candidate of `spec`.

    Unlike for a mixture, a native conv is one of the fast ways here, so it is looked at more closely.
    """
    batch, channels, *axes = shape
    padded, size = spec.extended(tuple(axes))
    (lattice,) = dilated_lattices(padded, size)
    positions = math.prod(padded.output_size(size))
    tap = out_channels * channels // spec.groups
    work = {"grouped_dilation": _native_work(lattice, padded, shape, size, tap, positions)}
    transforms, products = plan_for(spec, tuple(axes)).work(batch, channels, out_channels)
    work["fourier"] = FOURIER * (transforms + products)
    if phases := phases_of(lattice.points, padded, size):
        placed = REARRANGED * (channels + out_channels)
        work["polyphase"] = batch * phases.positions * (tap * phases.taps + placed)
    return min(work, key=work.__getitem__)


def _native_work(
    lattice: Lattice, spec: ConvSpec, shape: tuple[int, ...], size: Size, tap: int, positions: int
) -> float:
    batch, channels = shape[:2]
    taps = math.prod(lattice.shape)
    work = float(batch * tap * positions * taps)
    if channels == spec.groups:
        return work * (CHANNELWISE if max(lattice.dilation) == 1 else CHANNELWISE_DILATED)
    wide = any(p[-1] - p[0] >= n or -p[0] > WIDEST for p, n in zip(lattice.points, size, strict=True))
    return work + UNROLLED * batch * channels * positions * taps if wide else work


@lru_cache(maxsize=4096)
def estimates(spec: ConvSpec, shape: tuple[int, ...], out_channels: int) -> tuple[tuple[str, float], ...]:
    """(name, work) of the algorithms for an input of `shape` (batch, in, *size), the least work first.

    `mixed_results` is not among them: it is the reference, and `grouped_dilation` does the same with fewer convs.
    """
    batch, channels, *axes = shape
    padded, size = spec.extended(tuple(axes))
    merged = sum(math.prod(grid.shape) for grid in dilated_lattices(padded, size))
    dense = math.prod(dense_lattice(padded, size).shape)
    per_tap = batch * out_channels * (channels // spec.groups) * math.prod(padded.output_size(size))
    slow = DEPTHWISE if channels == spec.groups and min(dense, merged) > FEW_TAPS else 1.0
    work = {
        "mixed_weights": slow * per_tap * dense,
        "grouped_dilation": slow * per_tap * merged,
        "fourier": _fourier_work(plan_for(spec, tuple(axes)), batch, channels, out_channels),
    }
    return tuple(sorted(work.items(), key=lambda item: item[1]))


def choose(spec: ConvSpec, shape: tuple[int, ...], out_channels: int) -> str:
    """The name in `ALGORITHMS` that promises the least work for an input of `shape` (batch, in, *size)."""
    return estimates(spec, shape, out_channels)[0][0]


def _fourier_work(plan: FourierPlan, batch: int, channels: int, out_channels: int) -> float:
    transforms, products = plan.work(batch, channels, out_channels)
    return transforms + PRODUCT * products
