"""Nested kernels: all candidates of a site are taps of one kernel.

Single-Path NAS (Stamoulis et al., ECML PKDD 2019) has the 3x3 kernel inside of the 5x5; here so are dilated ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import ClassVar

import torch
from torch import Tensor

from dashfx.ops.families.base import Family, Size
from dashfx.ops.families.dense import Dense
from dashfx.ops.geometry import ConvSpec, Points
from dashfx.site import Site
from dashfx.space import Candidate

Tap = tuple[int, ...]


@dataclass(frozen=True)
class Nested(Dense):
    """Dense convs that read one kernel with a number for each tap that any of them has.

    So a site has the parameters of the union of its candidates, not of their sum, and what one candidate learns holds
    for all that have the tap. The mixture has theta[p] times the coefficients of all candidates that have tap p. After
    Single-Path NAS, whose indicators by the norms of rings of taps the coefficients of a relaxation stand for. A
    candidate is lowered to the plain conv of its taps, and stands in a genotype as dense.

    Args:
        taps: the offsets of the union, for a bound one.
    """

    taps: tuple[Tap, ...] = ()
    shares: ClassVar[bool] = True
    paper: ClassVar[str] = (
        "Stamoulis et al., Single-Path NAS: Designing Hardware-Efficient ConvNets in less than 4 Hours, 2019"
    )
    row: ClassVar[str] = "118"

    def bind(self, site: Site, candidates: Sequence[Candidate]) -> Family:
        return Nested(tuple(sorted({tap for c in candidates for tap in product(*_offsets(site, c))})))

    def chosen(self, candidate: Candidate) -> Candidate:
        return Candidate(candidate.kernel, candidate.dilation)

    def shapes(self, site: Site, candidate: Candidate) -> tuple[Size, ...]:
        return ((site.out_channels, site.in_channels // site.groups, len(self.taps)),)

    def kernel(self, theta: Sequence[Tensor], site: Site, candidate: Candidate, like: Tensor) -> Tensor:
        return theta[0].index_select(2, self._places(site, candidate, theta[0])).unflatten(2, candidate.kernel)

    def fit(self, kernel: Tensor, theta: Sequence[Tensor], site: Site, candidate: Candidate) -> list[Tensor]:
        """Taps of other candidates stay."""
        return [theta[0].index_copy(2, self._places(site, candidate, kernel), kernel.flatten(2).to(theta[0]))]

    def bound(self, site: Site, shape: Size) -> float:
        """As of the conv that it stands for: taps that few candidates have count little in the mixture."""
        return super().bound(site, (*shape[:2], site.original.taps))

    def plain(self, theta: Sequence[Tensor], site: Site, candidate: Candidate) -> list[Tensor]:
        return [self.kernel(theta, site, candidate, theta[0])]

    def weights(self, site: Site, candidate: Candidate) -> int:
        return Dense().weights(site, candidate)

    @cached_property
    def _known(self) -> dict[tuple[Candidate, torch.device], Tensor]:
        return {}

    def _places(self, site: Site, candidate: Candidate, like: Tensor) -> Tensor:
        """Where the candidate's taps stand in the union, on the device of `like`."""
        key = candidate, like.device
        if key not in self._known:
            numbers = {tap: number for number, tap in enumerate(self.taps)}
            places = [numbers[tap] for tap in product(*_offsets(site, candidate))]
            self._known[key] = torch.tensor(places, device=like.device)
        return self._known[key]


def _offsets(site: Site, candidate: Candidate) -> Points:
    return ConvSpec((candidate,), (site.padding_of(candidate),), site.stride).offsets(0)
