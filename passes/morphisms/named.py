"""Morphisms by the names that they have in a genotype and on the command line, and the model that several make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from torch import nn

from dashfx.errors import PassError, did_you_mean
from dashfx.frontend.tracing import Program, trace
from dashfx.options.morph import Morph
from dashfx.passes.morphisms.base import Morphism
from dashfx.passes.morphisms.branch import Branch
from dashfx.passes.morphisms.deepen import Deepen
from dashfx.passes.morphisms.enlarge import Enlarge
from dashfx.passes.morphisms.widen import Widen

MORPHISMS: dict[str, type[Morphism]] = {"widen": Widen, "deepen": Deepen, "enlarge": Enlarge, "branch": Branch}


def pass_of(morph: Morph) -> Morphism:
    """The pass that a genotype's option names.

    Raises:
        PassError: no morphism of that name, or one that takes other arguments.
    """
    if morph.what not in MORPHISMS:
        raise PassError(f"no morphism {morph.what!r}{did_you_mean(morph.what, MORPHISMS)}; there are {known()}")
    try:
        return MORPHISMS[morph.what](morph.at, **{name: _frozen(value) for name, value in morph.facts})
    except TypeError as error:
        raise PassError(f"morphism {morph}: {error}") from None


def morph_of(step: Morphism) -> Morph:
    """The option that stands for a pass; arguments that are as they come are left out."""
    name = next(name for name, kind in MORPHISMS.items() if kind is type(step))
    given = {each.name: getattr(step, each.name) for each in fields(step) if each.name != "at"}
    usual = {each.name: each.default for each in fields(step)}
    return Morph(name, step.at, tuple(sorted((n, _frozen(v)) for n, v in given.items() if v != usual[n])))


def known() -> str:
    return ", ".join(MORPHISMS)


def applied(program: Program, steps: Sequence[Morph]) -> Program:
    """The program after these steps, which it is changed to.

    Raises:
        PassError: one that cannot be made.
    """
    for step in steps:
        pass_of(step)(program)
    return program


def morphed(model: nn.Module, example: Any, steps: Sequence[Morph], fresh: bool = False) -> nn.Module:
    """A copy of `model` after these steps.

    Args:
        fresh: draw the weights of all layers anew that have come or have other sizes, by their `reset_parameters` and
            torch's generator; else they are what makes the model compute the same.
    """
    if not steps:
        return model
    grown = applied(trace(model, example), steps).model
    before = {name: (type(module), _shapes(module)) for name, module in model.named_modules()}
    for name, module in grown.named_modules() if fresh else ():
        reset = getattr(module, "reset_parameters", None)
        if callable(reset) and before.get(name) != (type(module), _shapes(module)):
            reset()
    return grown


def _shapes(module: nn.Module) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(p.shape) for p in module.parameters(recurse=False))


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
