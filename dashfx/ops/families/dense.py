"""Dense convs: the conv as it is, with another kernel size and dilation. The family of DASH."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dashfx.ops.families.alone import alone
from dashfx.ops.families.base import Family, Size, conv_module
from dashfx.ops.geometry import ConvSpec
from dashfx.site import Site
from dashfx.space import Candidate


class Dense(Family):
    """A conv with the site's own groups: its parameter is the kernel itself."""

    exact = True

    def shapes(self, site: Site, candidate: Candidate) -> tuple[Size, ...]:
        return ((site.out_channels, site.in_channels // site.groups, *candidate.kernel),)

    def kernel(self, theta: Sequence[Tensor], site: Site, candidate: Candidate, like: Tensor) -> Tensor:
        return theta[0]

    def fit(self, kernel: Tensor, theta: Sequence[Tensor], site: Site, candidate: Candidate) -> list[Tensor]:
        return [kernel]

    def module(self, site: Site, candidate: Candidate, device: torch.device, dtype: torch.dtype) -> nn.Module:
        return conv_module(site, candidate, device, dtype)

    def run(self, x: Tensor, theta: Sequence[Tensor], site: Site, spec: ConvSpec, bias: Tensor | None = None) -> Tensor:
        return alone(x, self.kernel(theta, site, spec.candidates[0], x), spec, bias)
