"""Partial channels: a candidate reads the first input channels with its own taps, the others with a 1x1 conv.

After Xu, Xie, Zhang and others, "PC-DARTS: Partial Channel Connections for Memory-Efficient Architecture Search", ICLR
2020, where the channels that are not searched pass by unchanged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from dashfx.ops.families.base import Size
from dashfx.ops.families.dense import Dense
from dashfx.plugins import Count
from dashfx.site import Site
from dashfx.space import Candidate


@dataclass(frozen=True)
class Partial(Dense):
    """All taps for the first 1 / `parts` of each group's input channels, the middle tap alone for the others.

    One conv with a block of zeros, to which it is lowered; as a mixture it takes no less memory than a dense one, since
    candidates of one conv are mixed in one kernel whatever they are.
    """

    parts: Count = 4
    exact: ClassVar[bool] = False
    linear: ClassVar[bool] = False
    paper: ClassVar[str] = "after Xu et al., PC-DARTS: Partial Channel Connections, ICLR 2020"
    row: ClassVar[str] = "5"

    def misfit(self, site: Site, candidate: Candidate) -> str | None:
        reads = site.in_channels // site.groups
        if reads % self.parts:
            return f"{reads} input channels cannot be divided into {self.parts} parts"
        return None

    def shapes(self, site: Site, candidate: Candidate) -> tuple[Size, ...]:
        reads = site.in_channels // site.groups
        first = site.out_channels, reads // self.parts, *candidate.kernel
        rest = (site.out_channels, reads - reads // self.parts, *[1] * candidate.ndim)
        return (first, rest) if self.parts > 1 else (first,)

    def kernel(self, theta: Sequence[Tensor], site: Site, candidate: Candidate, like: Tensor) -> Tensor:
        if self.parts == 1:
            return theta[0]
        first, rest = theta
        pads = [(k // 2, k - 1 - k // 2) for k in candidate.kernel]
        around = [each for pair in reversed(pads) for each in pair]
        return torch.cat([first, torch.nn.functional.pad(rest, around)], 1)

    def fit(self, kernel: Tensor, theta: Sequence[Tensor], site: Site, candidate: Candidate) -> list[Tensor]:
        if self.parts == 1:
            return [kernel]
        first = self.shapes(site, candidate)[0][1]
        middle = tuple(slice(k // 2, k // 2 + 1) for k in candidate.kernel)
        return [kernel[:, :first].clone(), kernel[(slice(None), slice(first, None), *middle)].clone()]

    def plain(self, theta: Sequence[Tensor], site: Site, candidate: Candidate) -> list[Tensor]:
        return [self.kernel(theta, site, candidate, theta[0])]

    def weights(self, site: Site, candidate: Candidate) -> int:
        """Those of the conv that it is lowered to, zeros included."""
        return site.out_channels * (site.in_channels // site.groups) * candidate.taps
