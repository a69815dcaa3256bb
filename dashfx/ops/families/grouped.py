"""Grouped convs: each group of output channels reads a group of input channels (ResNeXt, Xie et al., CVPR 2017)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from dashfx.ops.families.alone import alone
from dashfx.ops.families.base import Family, Size, conv_module
from dashfx.ops.geometry import ConvSpec
from dashfx.plugins import Count
from dashfx.site import Site
from dashfx.space import Candidate


@dataclass(frozen=True)
class Grouped(Family):
    """A conv in `groups` times as many groups as the site's own: a kernel of zeros between them."""

    groups: Count = 4
    paper: ClassVar[str] = "Xie et al., Aggregated Residual Transformations for Deep Neural Networks, CVPR 2017"

    def times(self, site: Site) -> int:
        """How many groups each of the site's own is divided into."""
        return self.groups

    def misfit(self, site: Site, candidate: Candidate) -> str | None:
        n, reads, gives = self.times(site), site.in_channels // site.groups, site.out_channels // site.groups
        if n == 1:
            return "one group is the conv as it is"
        if reads % n or gives % n:
            return f"{reads} -> {gives} channels cannot be divided into {n} groups"
        return None

    def shapes(self, site: Site, candidate: Candidate) -> tuple[Size, ...]:
        return ((site.out_channels, site.in_channels // (site.groups * self.times(site)), *candidate.kernel),)

    def kernel(self, theta: Sequence[Tensor], site: Site, candidate: Candidate, like: Tensor) -> Tensor:
        blocks = self._blocks(theta[0], site).unsqueeze(3)  # (groups, n, out / n, 1, in / n, *kernel)
        diagonal = torch.eye(self.times(site), dtype=blocks.dtype, device=blocks.device)
        full = blocks * diagonal[(None, slice(None), None, slice(None), None, *[None] * candidate.ndim)]
        return full.reshape(site.out_channels, site.in_channels // site.groups, *candidate.kernel)

    def fit(self, kernel: Tensor, theta: Sequence[Tensor], site: Site, candidate: Candidate) -> list[Tensor]:
        n, g = self.times(site), site.groups
        full = kernel.reshape(g, n, site.out_channels // (g * n), n, site.in_channels // (g * n), *candidate.kernel)
        diagonal = torch.arange(n, device=kernel.device)
        blocks = full[:, diagonal, :, diagonal]  # (n, groups, out / n, in / n, *kernel): indices apart come first
        return [blocks.transpose(0, 1).reshape(self.shapes(site, candidate)[0])]

    def module(self, site: Site, candidate: Candidate, device: torch.device, dtype: torch.dtype) -> nn.Module:
        return conv_module(site, candidate, device, dtype, groups=site.groups * self.times(site))

    def run(self, x: Tensor, theta: Sequence[Tensor], site: Site, spec: ConvSpec, bias: Tensor | None = None) -> Tensor:
        return alone(x, theta[0], spec, bias, site.groups * self.times(site))

    def _blocks(self, weight: Tensor, site: Site) -> Tensor:
        """(out, in, *kernel) of a group -> (site's groups, n, out / n, in / n, *kernel)."""
        n, g = self.times(site), site.groups
        return weight.reshape(g, n, site.out_channels // (g * n), *weight.shape[1:])


class Depthwise(Grouped):
    """A conv in which each output channel reads one input channel, as in MobileNet (Howard et al., 2017)."""

    paper: ClassVar[str] = "Howard et al., MobileNets: Efficient Convolutional Neural Networks for Vision, 2017"

    def __init__(self) -> None:
        super().__init__()

    def times(self, site: Site) -> int:
        return site.in_channels // site.groups

    def misfit(self, site: Site, candidate: Candidate) -> str | None:
        if site.groups == site.in_channels:
            return "each output channel reads one input channel already"
        if site.out_channels % site.in_channels:
            return f"{site.out_channels} output channels are no multiple of {site.in_channels} input channels"
        return None
