"""Substitution: each site's conv becomes an AggConv over its candidates."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import ClassVar, Literal

import psutil
import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from dashfx.data.readers.border import gigabytes
from dashfx.errors import SpaceError
from dashfx.frontend.adapters import adapter_of, as_plain
from dashfx.frontend.convs import unfold_weight_norm
from dashfx.frontend.copies.members import carry, members_of
from dashfx.frontend.tracing import Program, random_state_kept
from dashfx.ops import AdaptedConv, AggConv, BesideConv, HostedConv
from dashfx.ops.families import family_named, misfit
from dashfx.ops.hosted import settings_of
from dashfx.options.base import Decision
from dashfx.passes.base import AbstractPass, Edit, PassResult
from dashfx.site import Site, Skip
from dashfx.space import BESIDE, DENSE, NESTED, Candidate, SearchSpace

Init = Literal["grow", "fresh"]


@dataclass(frozen=True)
class Substitute(AbstractPass):
    """Put an AggConv in the place of every site's conv, a BesideConv where candidates are branches beside it.

    1. The AggConv has the site's channels, stride, groups, bias, padding and padding mode, and the candidates that the
       space gives the site; groups are never changed.
    2. `init="grow"`: its output equals the conv's for every mixture, whatever the candidates (the growth law).
    3. `init="fresh"`: weights are drawn by fan-in, one candidate like a conv of its size.
    4. Candidates whose family cannot stand at the site are dropped, with the reason.
    5. Names, hooks, train flags and the rest of the model stay, and so do attributes and methods of a conv that
       torch.nn's does not have.

    Refused with a SpaceError: a site where no candidate is left. Left alone, with a skip: sites that `include` does not
    match or `exclude` does, those in `alone`, which maps a name to the reason, and convs with an attribute or method
    that has the name of one of AggConv's; a weight-norm that Canonicalise folded is put back there, so that they keep
    their keys. Left alone silently: what is an AggConv already.
    """

    kind: ClassVar[str] = Candidate.kind
    space: SearchSpace
    init: Init = "grow"
    include: Sequence[str] = ("*",)
    exclude: Sequence[str] = ()
    algorithm: str = "auto"
    generator: torch.Generator | None = None
    alone: Mapping[str, str] = field(default_factory=dict)

    @property
    def preserves(self) -> Literal["values", "shapes"]:  # type: ignore[override]
        return "values" if self.init == "grow" else "shapes"

    def decisions(self, program: Program) -> tuple[list[Decision[Candidate]], list[Skip]]:
        """What each conv may become, as a `Finder` says it; one whose members clash with AggConv's only `call` sees.

        Raises:
            SpaceError: a site where no candidate can stand.
        """
        why = {name: self._excluded(name) for name in program.sites}
        found = [
            Decision(name, self._offered(site, program.model.get_submodule(name))[0], site.original)
            for name, site in program.sites.items()
            if why[name] is None
        ]
        return found, [*program.skips, *(Skip(name, reason) for name, reason in why.items() if reason is not None)]

    def requires(self, program: Program) -> None:
        for name, site in program.sites.items():
            conv = program.model.get_submodule(name)
            if not (site.hosting or site.adapted) and isinstance(conv, _ConvNd) and isinstance(conv.padding, str):
                raise self.fail(f"site {name!r} has string padding: run Canonicalise first")

    def call(self, program: Program) -> PassResult:
        edits, skips = [], []
        for name, site in list(program.sites.items()):
            conv = program.model.get_submodule(name)
            if isinstance(conv, AggConv):
                continue
            found = self._excluded(name) or self._aggconv(site, conv)
            aggconv = _with_members(conv, found) if isinstance(found, AggConv) else found
            if isinstance(aggconv, str):
                skips.append(Skip(name, aggconv))
                _as_it_came(program, name, conv)
                del program.sites[name]
                continue
            program.replace(name, aggconv)
            edits += [Edit(name, f"{c} dropped: {why}") for c, why in self._offered(site, conv)[1].items()]
            edits.append(Edit(name, f"{site.original} becomes a mixture of {len(aggconv.candidates)} candidates"))
        return self.result(program, edits, skips)

    def ensures(self, program: Program) -> None:
        for name in program.sites:
            if not isinstance(program.model.get_submodule(name), AggConv):
                raise self.fail(f"site {name!r} was not replaced")

    def _excluded(self, name: str) -> str | None:
        if not any(fnmatchcase(name, glob) for glob in self.include):
            return f"not included by {' '.join(self.include)}"
        glob = next((glob for glob in self.exclude if fnmatchcase(name, glob)), None)
        return f"excluded by {glob}" if glob else self.alone.get(name)

    def _aggconv(self, site: Site, conv: nn.Module) -> AggConv:
        with random_state_kept(conv):  # what the constructor draws is replaced below
            aggconv, weight, bias = self._built(site, conv)
        aggconv.site = site
        aggconv.name = site.name
        if self.init == "grow":
            aggconv.grow_from(weight.detach(), None if bias is None else bias.detach())
        else:
            aggconv.reset_parameters(self.generator)
        if aggconv.bias is not None:
            aggconv.bias.requires_grad_("bias" not in site.frozen)
        return aggconv

    def _built(self, site: Site, conv: nn.Module) -> tuple[AggConv, Tensor, Tensor | None]:
        """The searchable conv, and the weight and bias that it can grow from."""
        (candidates, _), adapter = self._offered(site, conv), adapter_of(conv)
        check_room(site, candidates)
        if site.hosting:
            hosted = HostedConv(site, conv, [_as_dense(candidate) for candidate in candidates], self.algorithm)
            return hosted, conv.get_parameter(site.hosting.weight), None
        plain = as_plain(conv, adapter) if adapter else conv
        assert isinstance(plain, _ConvNd)
        beside = any(candidate.family == BESIDE for candidate in candidates)
        kind = AdaptedConv if adapter else BesideConv if beside else AggConv
        aggconv = self._plain(kind, site, plain, candidates)
        if isinstance(aggconv, AdaptedConv):
            aggconv.author = (conv,)
        return aggconv, plain.weight, plain.bias

    def _offered(self, site: Site, conv: nn.Module) -> tuple[tuple[Candidate, ...], dict[Candidate, str]]:
        """The candidates that can stand at the site, and why each other cannot.

        Raises:
            SpaceError: none can.
        """
        choices = self.space.for_site(site.name, site.original)
        found = {choice: misfit(site, choice) or clinging(site, conv, choice) for choice in choices}
        why = {choice: reason for choice, reason in found.items() if reason}
        if len(why) == len(choices):
            choice, reason = next(iter(why.items()))
            raise SpaceError(
                f"Site {site.name!r}: no family of its {len(choices)} candidates can stand there ({choice}: {reason}); "
                "add dense ones (--families dense,...), or exclude the site"
            )
        return tuple(choice for choice in choices if choice not in why), why

    def _plain(self, kind: type[AggConv], site: Site, conv: _ConvNd, candidates: tuple[Candidate, ...]) -> AggConv:
        return kind(
            candidates=candidates,
            **settings_of(site),
            algorithm=self.algorithm,
            device=conv.weight.device,
            dtype=conv.weight.dtype,
        )


def _as_dense(candidate: Candidate) -> Candidate:
    """What runs in a forward of the user's own has kernels of its own."""
    return Candidate(candidate.kernel, candidate.dilation)


def clinging(site: Site, conv: nn.Module, candidate: Candidate) -> str | None:
    """Why what hangs on a conv keeps it from becoming another operation, or None."""
    if candidate.family in (DENSE, NESTED) or site.adapted or not isinstance(conv, _ConvNd):
        return None
    return f"the conv has members of its own, which only {DENSE} convs keep" if members_of(conv) else None


def check_room(site: Site, candidates: tuple[Candidate, ...]) -> None:
    """Whether the weights of all candidates could be held at all, asked before they are allocated.

    Raises:
        SpaceError: they could not.
    """
    size = 4 * sum(_numbers(site, candidate) for candidate in candidates)
    room = psutil.virtual_memory().total
    if size > room:
        raise SpaceError(
            f"Site {site.name!r}: the weights of its {len(candidates)} candidates would take {gigabytes(size)}, this "
            f"machine has {gigabytes(room)}; give smaller kernels or exclude the site"
        )


def _numbers(site: Site, candidate: Candidate) -> int:
    if candidate.family == BESIDE:
        return sum(math.prod(shape) for shape in family_named(BESIDE).shapes(site, candidate))
    return site.out_channels * site.in_channels // site.groups * candidate.taps


def _with_members(conv: nn.Module, aggconv: AggConv) -> AggConv | str:
    """The searchable conv with what the user's has beyond torch.nn's, or why it cannot have that."""
    if isinstance(aggconv, HostedConv | AdaptedConv):
        return aggconv  # which keeps the user's
    assert isinstance(conv, _ConvNd)
    members = members_of(conv)
    if name := members.clash(aggconv):
        return f"its {name!r} has the name of something that searchable convs have: rename it to have it searched"
    carry(conv, aggconv, members.attributes)
    aggconv.members = members
    return aggconv


def _as_it_came(program: Program, name: str, conv: nn.Module) -> None:
    norm = program.sites[name].weight_norm
    folded = program.graph_module.meta.get("key_map", {}).pop(f"{name}.weight", None)
    if norm is not None and folded is not None:
        unfold_weight_norm(conv, norm)
