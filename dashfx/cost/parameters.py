"""Parameters of a network: all numbers in its weights, each shared one once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dashfx.cost.base import TotalCost
from dashfx.cost.counts import conv_parameters, parameters_of
from dashfx.frontend.tracing import Program
from dashfx.site import Site
from dashfx.space import Candidate


@dataclass(frozen=True)
class Parameters(TotalCost):
    """Weights and biases."""

    unit: ClassVar[str] = "parameters"

    def at(self, site: Site, candidate: Candidate) -> float:
        return conv_parameters(site, candidate)

    def whole(self, program: Program) -> float:
        return parameters_of(program.model)
