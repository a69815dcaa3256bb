"""Discretisation: each site's mixture becomes the one candidate that a genotype names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from dashfx.errors import GenotypeError, did_you_mean
from dashfx.frontend.recording import users_modules
from dashfx.frontend.tracing import Program
from dashfx.genotype import Genotype
from dashfx.ops import AggConv
from dashfx.passes.base import AbstractPass, Edit, PassResult
from dashfx.space import Candidate

Weights = Literal["inherit", "own", "fresh"]


@dataclass(frozen=True)
class Discretise(AbstractPass):
    """Leave one candidate in every AggConv.

    1. `weights="inherit"`: it starts from the aggregated kernel restricted to its support, which keeps what the other
       candidates learned there. With a coefficient of one this is the candidate's own weight.
    2. `weights="own"`: it starts from its own weight alone.
    3. `weights="fresh"`: every module of the model draws its weights anew by its `reset_parameters`; parameters of
       modules without that method stay.
    4. The bias stays (rules 1 and 2). Output shapes stay.
    """

    preserves = "shapes"
    genotype: Genotype
    weights: Weights = "inherit"

    def requires(self, program: Program) -> None:
        sites = {n for n, m in program.model.named_modules() if isinstance(m, AggConv)}
        missing, extra = sites - set(self.genotype), set(self.genotype) - sites
        if missing:
            raise GenotypeError(f"the genotype has no choice for {_list(missing)}: it is of another model or space")
        if extra:
            near = did_you_mean(sorted(extra)[0], sites)
            raise GenotypeError(f"the genotype names {_list(extra)}, which the model does not search{near}")

    def call(self, program: Program) -> PassResult:
        edits = []
        for name, choice in self.genotype.items():
            aggconv = program.model.get_submodule(name)
            assert isinstance(aggconv, AggConv)
            if aggconv.candidates == (choice,) and aggconv.residual is None:
                continue
            program.replace(name, _only(aggconv, choice, self.weights))
            edits.append(Edit(name, f"{len(aggconv.candidates)} candidates become {choice}"))
        if self.weights == "fresh" and edits:
            for _, module in users_modules(program.model):
                reset = getattr(module, "reset_parameters", None)
                if callable(reset):
                    reset()
        return self.result(program, edits)

    def ensures(self, program: Program) -> None:
        for name, choice in self.genotype.items():
            aggconv = program.model.get_submodule(name)
            if not isinstance(aggconv, AggConv) or aggconv.candidates != (choice,):
                raise self.fail(f"site {name!r} does not hold {choice} alone")


def _only(aggconv: AggConv, choice: Candidate, weights: Weights) -> AggConv:
    if choice not in aggconv.candidates:
        raise GenotypeError(
            f"Site {aggconv.name!r}: {choice} is not one of its candidates ({', '.join(map(str, aggconv.candidates))})"
        )
    index = aggconv.candidates.index(choice)
    weight = aggconv.weights[index] if weights == "own" else aggconv.restricted(index)
    only = aggconv.only(index)
    with torch.no_grad():
        only.weights[0].copy_(weight)
    return only


def _list(names: set[str]) -> str:
    first = ", ".join(repr(name) for name in sorted(names)[:3])
    return first if len(names) <= 3 else f"{first} and {len(names) - 3} more"
