"""A lone dense candidate: the algorithm that promises the least work for it, by the rule of `dashfx.ops.autotune`."""

from __future__ import annotations

from torch import Tensor

from dashfx.ops.algorithms import ALGORITHMS
from dashfx.ops.autotune.estimate import choose_alone
from dashfx.ops.families.alone import alone
from dashfx.ops.geometry import ConvSpec

NATIVE = {"mixed_results", "mixed_weights", "grouped_dilation"}  # of one candidate they are one native conv


def lone(x: Tensor, kernel: Tensor, spec: ConvSpec, bias: Tensor | None = None, algorithm: str = "auto") -> Tensor:
    """As `dashfx.ops.families.alone.alone`.

    Args:
        algorithm: "auto" or a name in `ALGORITHMS`, such as "mixed_weights" for what is differentiated twice.
    """
    name = algorithm
    if name == "auto":  # the rule knows of processors alone
        name = choose_alone(spec, tuple(x.shape), len(kernel)) if x.device.type == "cpu" else "grouped_dilation"
    if name in NATIVE or not len(x):
        return alone(x, kernel, spec, bias)
    return ALGORITHMS[name](x, [kernel], kernel.new_ones(1), spec, bias)
