"""The families of operations that an option may be of, by name: each is a map from parameters to a kernel."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import nn

from dashfx.errors import SpaceError
from dashfx.frontend.shared import conv_for
from dashfx.ops.families.base import Family, fill
from dashfx.ops.families.beside import Beside
from dashfx.ops.families.constant.pool import Pool
from dashfx.ops.families.constant.skip import Skip
from dashfx.ops.families.constant.zero import Zero
from dashfx.ops.families.dense import Dense
from dashfx.ops.families.grouped import Depthwise, Grouped
from dashfx.ops.families.masked.binary import Binary
from dashfx.ops.families.masked.partial import Partial
from dashfx.ops.families.masked.quantised import Quantised
from dashfx.ops.families.masked.sparse import Sparse
from dashfx.ops.families.nested import Nested
from dashfx.ops.families.separable import Separable
from dashfx.plugins import find
from dashfx.site import Site
from dashfx.space import DENSE, NESTED, Candidate, Shared

FAMILIES: dict[str, type[Family]] = {
    "dense": Dense,
    "grouped": Grouped,
    "depthwise": Depthwise,
    "separable": Separable,
    "skip": Skip,
    "zero": Zero,
    "pool": Pool,
    "nested": Nested,
    "sparse": Sparse,
    "binary": Binary,
    "partial": Partial,
    "quantised": Quantised,
    "beside": Beside,
}


@lru_cache(maxsize=256)
def family_named(text: str) -> Family:
    """The family that a candidate names, such as "skip" or "grouped:groups=8".

    Raises:
        ConfigError: no such family, or an argument that it does not take.
    """
    found: Family = find("family", text)
    return found


def families_at(site: Site, candidates: Sequence[Candidate]) -> tuple[Family, ...]:
    """The family of each candidate; those of one family that have parameters in common are bound together."""
    bound = {
        name: family_named(name).bind(site, [c for c in candidates if c.family == name])
        for name in dict.fromkeys(candidate.family for candidate in candidates)
    }
    return tuple(bound[candidate.family] for candidate in candidates)


def misfit(site: Site, candidate: Candidate) -> str | None:
    """Why a candidate's family cannot stand at a site, or None."""
    if candidate.family in (DENSE, NESTED):
        return None
    if site.hosting or site.adapted:
        return f"a conv of a class of its own is searched as {DENSE} only"
    return family_named(candidate.family).misfit(site, candidate)


def conv_of(site: Site, candidate: Candidate, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """The module of any choice at a site; its weights are for the caller to fill.

    Raises:
        SpaceError: as of `dashfx.frontend.shared.conv_for`, or the site cannot have it.
    """
    if isinstance(candidate, Shared):
        return conv_for(site, candidate, device, dtype)
    if reason := misfit(site, candidate):
        raise SpaceError(f"Site {site.name!r}: {candidate}: {reason}")
    return family_named(candidate.family).module(site, candidate, device, dtype)


__all__ = ["FAMILIES", "Family", "conv_of", "families_at", "family_named", "fill", "misfit"]
