"""Multiply-adds of convs and matrix products for one row of input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dashfx.cost.base import TotalCost, one_row
from dashfx.cost.counts import conv_macs, flops_of
from dashfx.frontend.tracing import Program
from dashfx.site import Site
from dashfx.space import Candidate


@dataclass(frozen=True)
class Macs(TotalCost):
    """As `flops_of` counts them, half as many."""

    unit: ClassVar[str] = "multiply-adds"

    def at(self, site: Site, candidate: Candidate) -> float:
        return conv_macs(site, candidate)

    def whole(self, program: Program) -> float:
        return flops_of(program.model, one_row(program)) / 2
