"""Cost estimates of each algorithm for an aggregated conv, for where nothing has been measured.

The estimate counts multiplications and weighs each kind by how fast it runs. The weights come from a coarse grid search
over 85 timings: 17 layers like those of `dashfx.ops.autotune.suite`, 5 spaces of 1 to 20 candidates, forward and
backward, float32, one CPU core that others used too. It knows nothing of GPUs or half precision.
"""

from __future__ import annotations

import math
from functools import lru_cache

from dashfx.ops.fourier.plan import FourierPlan, plan_for
from dashfx.ops.geometry import ConvSpec, dense_lattice, dilated_lattices

# Costs of one multiplication; in a native dense conv it is 1.
PRODUCT = 2.0  # in the small matrices of a product of spectra
DEPTHWISE, FEW_TAPS = 20.0, 9  # in a native depthwise conv of more than a few taps


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
