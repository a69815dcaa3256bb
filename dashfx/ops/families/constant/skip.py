"""Skips: the input itself in the place of a conv, where the shapes are the same (DARTS, Liu et al., ICLR 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from dashfx.ops.families.constant.base import Constant, channels_differ, diagonal
from dashfx.ops.geometry import ConvSpec
from dashfx.site import Site
from dashfx.space import Candidate


class Skip(Constant):
    """y = x: a kernel of one tap of 1 from each channel to itself, without bias; lowered to nn.Identity."""

    paper: ClassVar[str] = "Liu et al., DARTS: Differentiable Architecture Search, ICLR 2019"

    def misfit(self, site: Site, candidate: Candidate) -> str | None:
        if differ := channels_differ("a skip", site):
            return differ
        if any(stride != 1 for stride in site.stride):
            return "a skip has stride 1"
        padding = site.padding_of(candidate)
        if any(left + right for left, right in padding):
            return "a skip keeps the size, which the conv with its padding changes"
        if any(left for left, _ in padding):
            return "the conv's padding moves the input, so that no tap of it is the input itself"
        return None

    def kernel(self, theta: Sequence[Tensor], site: Site, candidate: Candidate, like: Tensor) -> Tensor:
        return diagonal(1.0, site, candidate, like)

    def module(self, site: Site, candidate: Candidate, device: torch.device, dtype: torch.dtype) -> nn.Module:
        return nn.Identity()

    def run(self, x: Tensor, theta: Sequence[Tensor], site: Site, spec: ConvSpec, bias: Tensor | None = None) -> Tensor:
        return x
