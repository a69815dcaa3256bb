"""Pruning of the space: candidates that coincide, or cannot fit, at a site's input size leave before the search."""

from __future__ import annotations

from collections.abc import Iterator
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
from dashfx.space import BESIDE, DENSE, Candidate


@dataclass(frozen=True)
class Prune(AbstractPass):
    """Drop a site's candidates that coincide or cannot fit at the input sizes that tracing saw.

    1. Only taps that can meet the input count. Two candidates of a family with the same such taps compute the same
       functions: the one with the fewest taps stays, the original before others; with `equal=True` both do, as parts of
       one choice. A branch beside the own kernel whose such taps that kernel has coincides with it.
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
        own = candidate.family == BESIDE and site.original in candidates and _within(taps, site)
        key = (DENSE, reachable(site, site.original)) if own else (candidate.family, taps)
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


def _within(taps: tuple[frozenset[int], ...], site: Site) -> bool:
    """Whether the own kernel has all these taps."""
    return all(axis <= own for axis, own in zip(taps, reachable(site, site.original), strict=True))


def reachable(site: Site, candidate: Candidate) -> tuple[frozenset[int], ...]:
    """Offsets, per axis, of the taps that meet the input for some output position and some input size seen.

    An offset is input position minus stride times output position. Padding that is not zeros makes every tap count.
    """
    axes = []
    for axis, (left, _) in enumerate(site.padding_of(candidate)):
        k, d, stride = candidate.kernel[axis], candidate.dilation[axis], site.stride[axis]
        if site.padding_mode == "zeros":
            met = [_meeting(site, axis, size, range(-left, k * d - left, d), stride) for size in site.input_sizes]
            axes.append(frozenset().union(*met))
        else:
            axes.append(frozenset(range(-left, k * d - left, d)))
    return tuple(axes)


def _meeting(site: Site, axis: int, size: tuple[int, ...], offsets: range, stride: int) -> Iterator[int]:
    """Those offsets for which there is an output m in [0, M) with 0 <= stride m + offset < N."""
    n, m = size[axis], site.output_size(size)[axis]
    # A kernel may have far more taps than the input has values: only those between its ends are looked at.
    start, step = offsets.start, offsets.step
    first, last = max(0, -((start + stride * (m - 1)) // step)), (n - 1 - start) // step
    near = offsets[first : max(first, last + 1)]
    return (o for o in near if max(0, -(o // stride)) <= min(m - 1, (n - 1 - o) // stride))


def _misfit(site: Site, candidate: Candidate) -> str | None:
    limits = {"reflect": -1, "circular": 0}
    if site.padding_mode not in limits:
        return None
    for (left, right), n in zip(site.padding_of(candidate), site.input_size, strict=True):
        if max(left, right) > n + limits[site.padding_mode]:
            return f"{site.padding_mode} padding of {max(left, right)} does not fit a size of {n}"
    return None
