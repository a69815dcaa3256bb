"""Separable convs: a depthwise conv and a 1x1 conv one after the other (Xception, Chollet, CVPR 2017)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from dashfx.ops.families.alone import alone
from dashfx.ops.families.base import Family, Size, conv_module
from dashfx.ops.geometry import ConvSpec
from dashfx.site import Site
from dashfx.space import Candidate


class Separable(Family):
    """kernel[o, i, p] = point[o, i] * depth[i, p], without norm or activation between the two.

    Stride, dilation and padding are the depthwise conv's, the bias is the 1x1 conv's. Of a conv in groups the 1x1 conv
    has these groups.
    """

    paper: ClassVar[str] = "Chollet, Xception: Deep Learning with Depthwise Separable Convolutions, CVPR 2017"

    def misfit(self, site: Site, candidate: Candidate) -> str | None:
        return "each output channel reads one input channel already" if site.groups == site.in_channels else None

    def shapes(self, site: Site, candidate: Candidate) -> tuple[Size, ...]:
        point = site.out_channels, site.in_channels // site.groups, *[1] * candidate.ndim
        return (site.in_channels, 1, *candidate.kernel), point

    def kernel(self, theta: Sequence[Tensor], site: Site, candidate: Candidate, like: Tensor) -> Tensor:
        depth, point = theta
        groups, axes = site.groups, (*[1] * candidate.ndim,)
        each = depth.reshape(groups, 1, site.in_channels // groups, *candidate.kernel)
        full = point.reshape(groups, site.out_channels // groups, -1, *axes) * each
        return full.reshape(site.out_channels, site.in_channels // groups, *candidate.kernel)

    def fit(self, kernel: Tensor, theta: Sequence[Tensor], site: Site, candidate: Candidate) -> list[Tensor]:
        """For each input channel the product of rank one that is nearest: by singular values (Eckart and Young, 1936).

        Both factors have the same norm. Of a kernel of zeros the 1x1 conv is not zero, so that it learns.
        """
        g = site.groups
        each = kernel.reshape(g, site.out_channels // g, site.in_channels // g, -1).transpose(1, 2)
        u, s, v = torch.linalg.svd(each.double(), full_matrices=False)  # each (groups, in, out, taps)
        first = s[..., :1].sqrt()
        point = torch.where(first > 0, first, torch.ones_like(first)) * u[..., 0]  # (groups, in, out)
        depth_shape, point_shape = self.shapes(site, candidate)
        depth = (first * v[..., 0, :]).reshape(depth_shape)
        return [depth.to(kernel), point.transpose(1, 2).reshape(point_shape).to(kernel)]

    def module(self, site: Site, candidate: Candidate, device: torch.device, dtype: torch.dtype) -> nn.Module:
        n, one = site.in_channels, Candidate((1,) * site.ndim)
        depth = conv_module(site, candidate, device, dtype, bias=False, out_channels=n, groups=n)
        point = replace(site, stride=one.kernel, padding=((0, 0),) * site.ndim, original=one, padding_mode="zeros")
        return nn.Sequential(depth, conv_module(point, one, device, dtype))

    def run(self, x: Tensor, theta: Sequence[Tensor], site: Site, spec: ConvSpec, bias: Tensor | None = None) -> Tensor:
        depth, point = theta
        one, zero = (1,) * spec.ndim, (((0, 0),) * spec.ndim,)
        pointwise = ConvSpec((Candidate(one),), zero, one, site.groups)
        return alone(alone(x, depth, spec, groups=site.in_channels), point, pointwise, bias)
