"""Branches beside a conv's own kernel: a large grouped kernel is added to it, as in networks of large kernels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from dashfx.errors import SpaceError
from dashfx.frontend.shared import SharedConv
from dashfx.ops.families.base import Family, conv_module
from dashfx.ops.families.constant import Constant
from dashfx.ops.families.grouped import Grouped
from dashfx.site import Site
from dashfx.space import Candidate


class Beside(Grouped):
    """The conv as it is, plus one of the candidate's kernel in as many groups as both sides' channels can have.

    With as many output as input channels, or a multiple, that is a depthwise conv, so further taps cost a number for
    each channel and not for each pair of channels. The own kernel is one for all candidates of a site, so their
    parameters and kernels here are those of the branch: (out, in / all groups, *kernel). A mixture of them is a
    `dashfx.ops.beside.BesideConv`.
    """

    paper: ClassVar[str] = "Ding et al., Scaling Up Your Kernels to 31x31 (RepLKNet), CVPR 2022"

    def __init__(self) -> None:
        super().__init__()

    def times(self, site: Site) -> int:
        return math.gcd(site.in_channels // site.groups, site.out_channels // site.groups)

    def misfit(self, site: Site, candidate: Candidate) -> str | None:
        if self.times(site) == 1:
            reads, gives = site.in_channels // site.groups, site.out_channels // site.groups
            return f"{reads} -> {gives} channels cannot be divided into groups"
        return None

    def bind(self, site: Site, candidates: Sequence[Candidate]) -> Family:
        raise SpaceError(
            f"{candidates[0]} stands beside a conv's own kernel, which an AggConv has not: build a "
            "dashfx.ops.BesideConv, as dashfx.rewrite does"
        )

    def kernel(self, theta: Sequence[Tensor], site: Site, candidate: Candidate, like: Tensor) -> Tensor:
        return theta[0]

    def fit(self, kernel: Tensor, theta: Sequence[Tensor], site: Site, candidate: Candidate) -> list[Tensor]:
        return [kernel]

    def weights(self, site: Site, candidate: Candidate) -> int:
        own = site.out_channels * site.in_channels // site.groups * site.original.taps
        return own + super().weights(site, candidate)

    def module(self, site: Site, candidate: Candidate, device: torch.device, dtype: torch.dtype) -> nn.Module:
        own, groups = conv_module(site, site.original, device, dtype), site.groups * self.times(site)
        branch = conv_module(site, candidate, device, dtype, bias=False, groups=groups)
        return SharedConv("sum", own, branch)  # type: ignore[arg-type]


class NoBranch(Constant):
    """Nothing beside the own kernel: the conv as it is, as one of the candidates of a mixture of branches."""

    def kernel(self, theta: Sequence[Tensor], site: Site, candidate: Candidate, like: Tensor) -> Tensor:
        (shape,) = Beside().shapes(site, candidate)
        return like.detach().new_zeros(shape)

    def module(self, site: Site, candidate: Candidate, device: torch.device, dtype: torch.dtype) -> nn.Module:
        return conv_module(site, candidate, device, dtype)

    def run(self, *args: object, **options: object) -> Tensor:
        raise NotImplementedError("the own kernel alone is computed by BesideConv")
