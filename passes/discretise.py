"""Discretisation: each site's mixture becomes the choice that a genotype names, one candidate or several at once."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

import torch
from torch import Tensor, nn

from dashfx.errors import GenotypeError, SpaceError, did_you_mean
from dashfx.frontend.recording import users_modules
from dashfx.frontend.tracing import Program
from dashfx.genotype import Genotype
from dashfx.ops import AggConv
from dashfx.ops.growth import shared_taps
from dashfx.ops.relaxations import Together
from dashfx.passes.base import AbstractPass, Edit, PassResult
from dashfx.space import Candidate, Shared

Weights = Literal["inherit", "own", "fresh"]


@dataclass(frozen=True)
class Discretise(AbstractPass):
    """Leave one candidate in every AggConv.

    1. `weights="inherit"`: it starts from the aggregated kernel restricted to its support, which keeps what the other
       candidates learned there, or as near to that as its family comes. With a coefficient of one this is the
       candidate's own weight.
    2. `weights="own"`: it starts from its own weight alone.
    3. `weights="fresh"`: every module of the model draws its weights anew by its `reset_parameters`; parameters of
       modules without that method stay.
    4. A choice of several kernels leaves its parts, with coefficients of one, each with the weight that it would have
       alone; of shared channels only in the rows of those that it gives. Of a sum that inherits, each tap of the
       aggregated kernel goes to the first part that has it.
    5. The bias stays (rules 1 and 2). Output shapes stay.

    Refused with a GenotypeError: choices that are no candidates, and several kernels in a conv of the user's own class.
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
            if _holds(aggconv, choice):
                continue
            program.replace(name, _only(aggconv, choice, self.weights))
            edits.append(Edit(name, f"{len(aggconv.candidates)} candidates become {choice}"))
        if self.weights == "fresh" and edits:
            for _, module in users_modules(program.model):
                reset = getattr(module, "reset_parameters", None)
                if callable(reset):
                    reset()
            for name in self.genotype:
                _clear_rows(program.model.get_submodule(name))
        return self.result(program, edits)

    def ensures(self, program: Program) -> None:
        for name, choice in self.genotype.items():
            aggconv = program.model.get_submodule(name)
            if not isinstance(aggconv, AggConv) or not _holds(aggconv, choice):
                raise self.fail(f"site {name!r} does not hold {choice} alone")


def _holds(aggconv: AggConv, choice: Candidate) -> bool:
    """Whether it computes the choice and nothing else."""
    shared = aggconv.relaxation.choice if isinstance(aggconv.relaxation, Together) else None
    same = shared == choice if isinstance(choice, Shared) else shared is None
    return same and aggconv.candidates == choice.parts and aggconv.residual is None


def _only(aggconv: AggConv, choice: Candidate, weights: Weights) -> AggConv:
    for part in choice.parts:
        if part not in aggconv.candidates:
            there = ", ".join(map(str, aggconv.candidates))
            raise GenotypeError(f"Site {aggconv.name!r}: {part} is not one of its candidates ({there})")
    if isinstance(choice, Shared):
        _check_shared(aggconv, choice)
    indices = [aggconv.candidates.index(part) for part in choice.parts]
    only = aggconv.only(*indices)
    if isinstance(choice, Shared):
        only.relaxation = Together(choice)
    if weights != "own":
        for place, kernel in enumerate(_kernels(aggconv, choice, indices)):
            only.put(place, kernel)
    _clear_rows(only)
    return only


def _kernels(aggconv: AggConv, choice: Candidate, indices: list[int]) -> list[Tensor]:
    """What each of the candidates that are left inherits."""
    if isinstance(choice, Shared) and choice.how == "sum":
        return _divided(aggconv, indices)
    return [aggconv.restricted(i) for i in indices]


def _divided(aggconv: AggConv, indices: list[int]) -> list[Tensor]:
    """The aggregated kernel on the taps of several candidates together: each tap with the first that has it.

    So the outputs of (out, in / groups, *kernel) of each of them add up to that of the kernel on all these taps.
    """
    kernels, offsets = [], aggconv.spec.offsets
    for place, index in enumerate(indices):
        kernel = aggconv.restricted(index)
        for before in indices[:place]:
            kernel = kernel * (1 - shared_taps(offsets(index), offsets(before))).to(kernel)
        kernels.append(kernel)
    return kernels


@torch.no_grad()
def _clear_rows(aggconv: nn.Module) -> None:
    """Zeros where a part of a shared choice gives no output channel."""
    if not isinstance(aggconv, AggConv) or not isinstance(aggconv.relaxation, Together):
        return
    choice = aggconv.relaxation.choice
    if choice.how == "channels":
        shares = [channels for _, channels in choice.shares(aggconv.out_channels, aggconv.groups)]
        ends = list(accumulate(shares))
        for weight, channels, end in zip(aggconv.weights, shares, ends, strict=True):
            weight[: end - channels] = 0
            weight[end:] = 0


def _check_shared(aggconv: AggConv, choice: Shared) -> None:
    """Whether several kernels can stand in the conv's place.

    Raises:
        GenotypeError: it is more than a conv of torch.nn, or has too few channels.
    """
    if not aggconv.shareable:
        raise GenotypeError(
            f"Site {aggconv.name!r}: {choice} needs a plain conv of torch.nn, and this one is of a class, or has "
            "attributes, of its own; choose one kernel there"
        )
    if any(family.shares for family in aggconv.families):
        raise GenotypeError(f"Site {aggconv.name!r}: {choice} out of nested kernels; choose one kernel there")
    try:
        choice.shares(aggconv.out_channels, aggconv.groups)
    except SpaceError as error:
        raise GenotypeError(f"Site {aggconv.name!r}: {error}") from None


def _list(names: set[str]) -> str:
    first = ", ".join(repr(name) for name in sorted(names)[:3])
    return first if len(names) <= 3 else f"{first} and {len(names) - 3} more"
