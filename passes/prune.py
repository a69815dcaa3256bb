"""Pruning of the space: candidates that coincide, or cannot fit, at a site's input size leave before the search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dashfx.errors import SpaceError
from dashfx.frontend.adapters import adapter_of, as_plain, refusal
from dashfx.frontend.tracing import Program, random_state_kept
from dashfx.ops import AdaptedConv, AggConv
from dashfx.ops.families import misfit as family_misfit
from dashfx.ops.families.typed import mismatch
from dashfx.passes.base import AbstractPass, Edit, PassResult
from dashfx.site import Site
from dashfx.space import Candidate


@dataclass(frozen=True)
class Prune(AbstractPass):
    """Drop a site's candidates that coincide or cannot fit at the input sizes that tracing saw.

    1. Only taps that can meet the input count. Two candidates of a family with the same such taps compute the same
       functions: the one with the fewest taps stays, the original before others; with `equal=True` both do, as parts of
       one choice.
    2. A candidate without such a tap is dropped.
    3. A candidate is dropped whose padding the padding mode cannot give: reflect needs pad < size, circular pad <=
       size.
    4. A candidate is dropped that a forward of the user's own, or an adapter, cannot take, or whose family cannot stand
       at the site.
    5. A candidate is dropped whose module, told by fake tensors, gives another shape than the conv.
    6. Weights, coefficients and growth of the candidates that stay are kept. Dropping preserves shapes; after
       `init="grow"` it preserves values too, since there every mixture computes the same.

    Raises SpaceError where nothing would be left.
    """

    preserves = "shapes"
    equal: bool = False

    def call(self, program: Program) -> PassResult:
        edits = []
        for name, site in program.sites.items():
            aggconv = program.model.get_submodule(name)
            if isinstance(aggconv, AggConv):
                edits += _prune(site, aggconv, self.equal)
        return self.result(program, edits)


def _prune(site: Site, aggconv: AggConv, equal: bool) -> list[Edit]:
    refused = _refused(site, aggconv)
    keep, why = survivors(site, tuple(c for c in aggconv.candidates if c not in refused), equal)
    why = {**refused, **why}
    if not keep:
        raise SpaceError(
            f"Site {site.name!r}: none of its {len(aggconv.candidates)} candidates fits an input of "
            f"{'x'.join(map(str, site.input_size))} ({next(iter(why.values()))}); "
            "give smaller kernels or exclude the site"
        )
    if why:
        aggconv.keep([i for i, candidate in enumerate(aggconv.candidates) if candidate in keep])
    return [Edit(site.name, f"{candidate} dropped: {reason}") for candidate, reason in why.items()]


def _refused(site: Site, aggconv: AggConv) -> dict[Candidate, str]:
    adapter = adapter_of(aggconv.author[0]) if isinstance(aggconv, AdaptedConv) else None
    if adapter is None or not isinstance(aggconv, AdaptedConv):
        return {}
    (author,) = aggconv.author
    with random_state_kept(aggconv):
        found = {c: refusal(author, adapter, as_plain(author, adapter), c) for c in aggconv.candidates}
    return {candidate: reason for candidate, reason in found.items() if reason}


def survivors(
    site: Site, candidates: tuple[Candidate, ...], equal: bool = False
) -> tuple[list[Candidate], dict[Candidate, str]]:
    """The candidates worth keeping at a site, and for each other one the reason it is dropped.

    Args:
        equal: whether those that coincide are worth it too.
    """
    kept: dict[Any, Candidate] = {}  # by the taps that count
    why: dict[Candidate, str] = {}
    # The original first, then small before large: the first of each kind represents it.
    for candidate in sorted(candidates, key=lambda c: (c != site.original, c.taps, c.span)):
        misfit, taps = family_misfit(site, candidate) or _misfit(site, candidate), reachable(site, candidate)
        misfit = misfit or (site.hosting.misfit(site.original, candidate) if site.hosting else None)
        misfit = misfit or mismatch(site, candidate)
        key = candidate.family, taps
        if misfit:
            why[candidate] = misfit
        elif any(not axis for axis in taps):
            why[candidate] = f"no tap meets an input of {'x'.join(map(str, site.input_size))}"
        elif equal:
            kept[candidate] = candidate
        elif key in kept:
            why[candidate] = f"coincides with {kept[key]} here"
        else:
            kept[key] = candidate
    return list(kept.values()), {c: why[c] for c in candidates if c in why}


def reachable(site: Site, candidate: Candidate) -> tuple[frozenset[int], ...]:
    """Offsets, per axis, of the taps that meet the input for some output position and some input size seen.

    An offset is input position minus stride times output position. Padding that is not zeros makes every tap count.
    """
    axes = []
    for axis, (left, _) in enumerate(site.padding_of(candidate)):
        k, d, stride = candidate.kernel[axis], candidate.dilation[axis], site.stride[axis]
        offsets = {t * d - left for t in range(k)}
        if site.padding_mode == "zeros":
            offsets = {o for o in offsets for size in site.input_sizes if _meets(site, axis, o, size, stride)}
        axes.append(frozenset(offsets))
    return tuple(axes)


def _meets(site: Site, axis: int, offset: int, size: tuple[int, ...], stride: int) -> bool:
    # Is there an output m in [0, M) with 0 <= stride m + offset < N?
    first = max(0, -(offset // stride))
    last = min(site.output_size(size)[axis] - 1, (size[axis] - 1 - offset) // stride)
    return first <= last


def _misfit(site: Site, candidate: Candidate) -> str | None:
    limits = {"reflect": -1, "circular": 0}
    if site.padding_mode not in limits:
        return None
    for (left, right), n in zip(site.padding_of(candidate), site.input_size, strict=True):
        if max(left, right) > n + limits[site.padding_mode]:
            return f"{site.padding_mode} padding of {max(left, right)} does not fit a size of {n}"
    return None
