"""Parameters and multiply-adds of a supernet, counted from sites and candidates before anything is built."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from dashfx.cost.counts import conv_macs
from dashfx.ops.autotune.estimate import estimates
from dashfx.ops.families import families_at
from dashfx.ops.families.beside import Beside
from dashfx.ops.families.layout import laid_out
from dashfx.ops.geometry import ConvSpec
from dashfx.site import Site
from dashfx.space import BESIDE, Candidate

# Multiply-adds that a parameter costs at every step, whatever the rows: its gradient, its place in a mixed kernel, the
# optimiser's update. They wait for memory; measured on ResNet-18, see docs/reference/performance.md.
UPDATE = 100.0


@dataclass(frozen=True)
class Plain:
    """The untouched model.

    Attributes:
        params: its parameters.
        count: gives its multiply-adds for one row; asked once, and only where they matter.
    """

    params: int
    count: Callable[[], float]

    @cached_property
    def macs(self) -> float:
        return max(1.0, self.count())


def own_weights(site: Site) -> int:
    return site.out_channels * site.in_channels // site.groups * site.original.taps


def mixture_weights(site: Site, candidates: Sequence[Candidate]) -> int:
    """Numbers in the weights of a mixture of these candidates at a site."""
    if stands_beside(candidates):
        branches = [c for c in candidates if c.family == BESIDE]
        return own_weights(site) + sum(math.prod(shape) for c in branches for shape in Beside().shapes(site, c))
    layout = laid_out(site, candidates, families_at(site, candidates))
    return sum(math.prod(shape) for shape in layout.shapes)


def mixture_macs(site: Site, candidates: Sequence[Candidate], rows: int) -> float:
    """Multiply-adds of a mixture for a batch, over all calls of the site, by the algorithm that promises the least."""
    spec = ConvSpec(
        tuple(candidates), tuple(map(site.padding_of, candidates)), site.stride, site.groups, site.padding_mode
    )
    own = 0.0
    if stands_beside(candidates):
        spec, own = (
            replace(spec, groups=site.groups * Beside().times(site)),
            float(rows * conv_macs(site, site.original)),
        )
    shapes = [(rows, site.in_channels, *size) for size in site.input_sizes]
    each = [estimates(spec, shape, site.out_channels)[0][1] for shape in shapes]
    return own + sum(each) * site.calls / len(each)


def stands_beside(candidates: Sequence[Candidate]) -> bool:
    """Whether they are branches beside the own kernel."""
    return any(candidate.family == BESIDE for candidate in candidates)


def step_macs(macs: float, params: float, rows: int) -> float:
    """Of a training step: its forward pass, and what parameters cost besides."""
    return macs * rows + UPDATE * params
