"""Average pools in the place of a conv: each channel's mean over the taps, padding included."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from dashfx.ops.families.alone import alone
from dashfx.ops.families.constant.base import Constant, channels_differ, diagonal
from dashfx.ops.geometry import ConvSpec
from dashfx.site import Site
from dashfx.space import Candidate, Padding

POOLS: tuple[Any, ...] = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)
PADS: dict[str, tuple[Any, ...]] = {
    "zeros": (nn.ConstantPad1d, nn.ConstantPad2d, nn.ConstantPad3d),
    "circular": (nn.CircularPad1d, nn.CircularPad2d, nn.CircularPad3d),
    "reflect": (nn.ReflectionPad1d, nn.ReflectionPad2d, nn.ReflectionPad3d),
    "replicate": (nn.ReplicationPad1d, nn.ReplicationPad2d, nn.ReplicationPad3d),
}


class Pool(Constant):
    """1 / taps at every tap from each channel to itself, without bias; it has no dilation, since nn.AvgPool has none.

    Lowered to nn.AvgPool that counts its padding, behind a module that pads where it cannot do so itself.
    """

    paper: ClassVar[str] = "Liu et al., DARTS: Differentiable Architecture Search, ICLR 2019"

    def misfit(self, site: Site, candidate: Candidate) -> str | None:
        if differ := channels_differ("a pool", site):
            return differ
        return "a pool of one tap is a skip" if candidate.taps == 1 else None

    def kernel(self, theta: Sequence[Tensor], site: Site, candidate: Candidate, like: Tensor) -> Tensor:
        return diagonal(1 / candidate.taps, site, candidate, like)

    def module(self, site: Site, candidate: Candidate, device: torch.device, dtype: torch.dtype) -> nn.Module:
        padding, kind = site.padding_of(candidate), POOLS[site.ndim - 1]
        within = zip(padding, candidate.kernel, strict=True)
        own = site.padding_mode == "zeros" and all(a == b and 0 <= a <= k // 2 for (a, b), k in within)
        pool = kind(candidate.kernel, site.stride, tuple(left for left, _ in padding) if own else 0)
        steps = [] if own else _pads(padding, site.padding_mode)
        return nn.Sequential(*steps, pool) if steps else pool

    def run(self, x: Tensor, theta: Sequence[Tensor], site: Site, spec: ConvSpec, bias: Tensor | None = None) -> Tensor:
        (candidate,) = spec.candidates
        each = x.new_full((site.in_channels, 1, *candidate.kernel), 1 / candidate.taps)
        return alone(x, each, spec, groups=site.in_channels)


def _pads(padding: Padding, mode: str) -> list[nn.Module]:
    """Modules that extend by the mode where the padding is positive, then crop where it is negative."""
    grown, cropped = ([sign(side, 0) for pair in reversed(padding) for side in pair] for sign in (max, min))
    axis, steps = len(padding) - 1, []
    if any(grown):
        steps.append(_pad(mode, axis, grown))
    if any(cropped):
        steps.append(_pad("zeros", axis, cropped))
    return steps


def _pad(mode: str, axis: int, sides: list[int]) -> nn.Module:
    kind = PADS[mode][axis]
    made: nn.Module = kind(tuple(sides), 0.0) if mode == "zeros" else kind(tuple(sides))
    return made
