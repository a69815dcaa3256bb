"""Families without parameters, the base: their kernels are constant."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dashfx.ops.families.base import Family, Size
from dashfx.site import Site
from dashfx.space import Candidate


class Constant(Family):
    """One kernel, whatever it was fitted to; it stands for the conv and its bias together."""

    biased = False

    def shapes(self, site: Site, candidate: Candidate) -> tuple[Size, ...]:
        return ()

    def fit(self, kernel: Tensor, theta: Sequence[Tensor], site: Site, candidate: Candidate) -> list[Tensor]:
        return []


def diagonal(value: float, site: Site, candidate: Candidate, like: Tensor) -> Tensor:
    """(out, in / groups, *kernel): `value` at all taps from each channel to itself, else 0."""
    each = site.in_channels // site.groups
    kernel = torch.zeros(site.out_channels, each, *candidate.kernel, dtype=like.dtype, device=like.device)
    channels = torch.arange(site.out_channels, device=like.device)
    kernel[channels, channels % each] = value
    return kernel


def channels_differ(what: str, site: Site) -> str | None:
    if site.in_channels != site.out_channels:
        return f"{what} has as many output as input channels, the conv {site.in_channels} -> {site.out_channels}"
    return None
