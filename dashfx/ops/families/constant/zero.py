"""Zeros: nothing in the place of a conv, for branches beside which something goes on (DARTS, Liu et al., ICLR 2019)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from dashfx.ops.families.base import conv_module
from dashfx.ops.families.constant.base import Constant
from dashfx.ops.geometry import ConvSpec
from dashfx.site import Site
from dashfx.space import Candidate


class Zero(Constant):
    """y = 0, without bias; lowered to a 1x1 conv of zeros that are not trained, in as many groups as there can be.

    No module of torch.nn gives zeros of another size than its input, and all runtimes take a conv.
    """

    paper: ClassVar[str] = "Liu et al., DARTS: Differentiable Architecture Search, ICLR 2019"

    def kernel(self, theta: Sequence[Tensor], site: Site, candidate: Candidate, like: Tensor) -> Tensor:
        return like.detach().new_zeros(site.out_channels, site.in_channels // site.groups, *candidate.kernel)

    def weights(self, site: Site, candidate: Candidate) -> int:
        return site.out_channels * site.in_channels // math.gcd(site.in_channels, site.out_channels)

    def module(self, site: Site, candidate: Candidate, device: torch.device, dtype: torch.dtype) -> nn.Module:
        groups = math.gcd(site.in_channels, site.out_channels)
        conv = conv_module(site, candidate, device, dtype, bias=False, groups=groups)
        nn.init.zeros_(conv.get_parameter("weight")).requires_grad_(False)
        return conv

    def run(self, x: Tensor, theta: Sequence[Tensor], site: Site, spec: ConvSpec, bias: Tensor | None = None) -> Tensor:
        return x.new_zeros(len(x), site.out_channels, *spec.output_size(tuple(x.shape[2:])))
