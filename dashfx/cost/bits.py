"""Bits of a network's weights: what they would take where each conv's are stored as its option rounds them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dashfx.cost.base import TotalCost
from dashfx.cost.counts import conv_parameters, conv_weights, parameters_of
from dashfx.frontend.tracing import Program
from dashfx.ops.families import family_named
from dashfx.site import Site
from dashfx.space import Candidate

FLOAT = 32  # bits of a number that nothing rounds


@dataclass(frozen=True)
class Bits(TotalCost):
    """Weights times their bits: those of the family `quantised`, 32 of all others and of biases.

    It is what packed weights would take; a file has 32 bits of each, or 8 with `--int8`, which `size` counts.
    """

    unit: ClassVar[str] = "bits"

    def at(self, site: Site, candidate: Candidate) -> float:
        weights = conv_weights(site, candidate)
        bits: int = getattr(family_named(candidate.family), "bits", FLOAT)
        return bits * weights + FLOAT * (conv_parameters(site, candidate) - weights)

    def whole(self, program: Program) -> float:
        return FLOAT * parameters_of(program.model)
