"""A user's model becomes a supernet of searchable convs (`rewrite`), and a supernet becomes a plain model (`lower`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self, cast

import torch
from torch import Tensor, nn

from dashfx.errors import ModelError, SpaceError
from dashfx.frontend.inputs import mapped
from dashfx.frontend.tracing import Program, trace
from dashfx.genotype import Genotype
from dashfx.ops import drop_residuals, sites_of
from dashfx.passes import AbstractPass, Annotate, Canonicalise, Discretise, Lower, PassManager, Prune, Substitute
from dashfx.passes.discretise import Weights
from dashfx.passes.substitute import Init
from dashfx.plugins import find
from dashfx.space import SearchSpace
from dashfx.strategies.rules import SelectionRule


class Supernet(nn.Module):
    """What `rewrite` adds to a user's model: its class becomes a subclass of its own class and of this one.

    `supernet.sites` maps site names to their AggConv. Where the user's model has a `sites` of its own, that one stays,
    and `dashfx.ops.sites_of(supernet)` gives the sites.
    """

    _own_class: type[nn.Module]
    _example: tuple[Any, ...]

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "sites":
                return sites_of(self)
            raise

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """What moves or casts the model (`.to`, `.double`) moves and casts its example too."""
        object.__setattr__(self, "_example", mapped(self._example, fn))
        return super()._apply(fn, recurse)

    def genotype(self, rule: str | SelectionRule = "argmax") -> Genotype:
        """One candidate per site, by "argmax", "contribution", "energy", `file.py:Class` or a rule object.

        Raises:
            ConfigError: no rule of that name.
        """
        found: SelectionRule = find("rule", rule)
        return found.select(sites_of(self))


def rewrite(
    model: nn.Module,
    example_input: Any,
    space: SearchSpace,
    init: Init = "grow",
    *,
    include: Sequence[str] = ("*",),
    exclude: Sequence[str] = (),
    algorithm: str = "auto",
    generator: torch.Generator | None = None,
) -> Any:
    """A copy of `model` whose spatial convs are mixtures over the space; a `Supernet` of the user's own class.

    Args:
        example_input: a tensor (batch, channels, *size), a tuple of positional arguments, or a dict by name.
        init: "grow" keeps the model's output for every mixture; "fresh" draws the searched weights anew.
        include, exclude: globs over module names.
        generator: for the fresh weights; torch's own by default.

    Raises:
        ModelError: the forward fails on the example, or there is no conv to search.
        SpaceError: no candidate fits a site.
    """
    program = trace(model, example_input)
    PassManager(rewriting_passes(space, init, include, exclude, algorithm, generator))(program.graph_module)
    return as_supernet(program)


def rewriting_passes(
    space: SearchSpace,
    init: Init,
    include: Sequence[str] = ("*",),
    exclude: Sequence[str] = (),
    algorithm: str = "auto",
    generator: torch.Generator | None = None,
    alone: Mapping[str, str] | None = None,
) -> list[AbstractPass]:
    """The passes from a traced model to a supernet, in order."""
    substitute = Substitute(space, init, tuple(include), tuple(exclude), algorithm, generator, alone or {})
    return [Canonicalise(), substitute, Prune(), Annotate()]


def lowering_passes(genotype: Genotype, weights: Weights = "inherit") -> list[AbstractPass]:
    """The passes from a traced supernet to a plain model, in order."""
    return [Discretise(genotype, weights), Lower()]


def lower(supernet: nn.Module, genotype: Genotype, weights: Weights = "inherit") -> nn.Module:
    """The plain model: torch.nn modules only, the user's class, the user's keys; the supernet stays as it is.

    Args:
        weights: "inherit" starts each conv from the aggregated kernel restricted to the chosen support, "own" from the
            chosen candidate's weight alone, "fresh" draws all weights anew.

    Raises:
        ModelError: not a supernet.
        GenotypeError: the genotype does not fit the sites.
    """
    if not isinstance(supernet, Supernet):
        raise ModelError(f"expected what dashfx.rewrite returned, got {type(supernet).__name__}")
    program = trace(supernet, supernet._example)
    PassManager(lowering_passes(genotype, weights))(program.graph_module)
    return as_plain(program)


def specialise(model: nn.Module, example_input: Any, genotype: Genotype, init: Init = "grow") -> nn.Module:
    """`model` with the genotype's kernels and dilations, without a supernet.

    With init "grow" each searched conv starts from the model's own kernel restricted to the chosen support; with
    "fresh" it is drawn anew. All other weights stay.

    Raises:
        GenotypeError: a site that the model does not have.
    """
    choices = tuple((_literal(name), (choice,)) for name, choice in genotype.items())
    if not choices:
        raise SpaceError("an empty genotype changes nothing: search the model first")
    space = SearchSpace(choices[0][1], choices)
    supernet = rewrite(model, example_input, space, init, include=[glob for glob, _ in choices])
    drop_residuals(supernet)  # what lies outside the chosen support
    return lower(supernet, genotype)


def _literal(name: str) -> str:
    """A glob that matches `name` only."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)


def as_supernet(program: Program) -> nn.Module:
    """The rewritten model of a traced program, as a `Supernet` of its own class.

    Raises:
        ModelError: there is no site.
    """
    model = program.model
    if not program.sites:
        named = [f"{skip.name}: {skip.reason}" if skip.name else skip.reason for skip in program.skips[:3]]
        reasons = "; ".join(named) or "it has no convs"
        more = f"; and {len(program.skips) - 3} more, see `dashfx check`" if len(program.skips) > 3 else ""
        raise ModelError(f"the model has no conv to search ({reasons}{more})")
    if not isinstance(model, Supernet):
        own = type(model)
        model.__class__ = type(f"Super{own.__name__}", (own, Supernet), {"_own_class": own, "__module__": __name__})
        object.__setattr__(model, "_example", program.example)
    return model


def as_plain(program: Program) -> nn.Module:
    """The lowered model of a traced supernet, of the user's own class again."""
    supernet = program.model
    assert isinstance(supernet, Supernet)
    plain, own = cast(nn.Module, supernet), supernet._own_class
    del supernet._example
    plain.__class__ = own
    return plain
