"""Tied mixtures: sites whose logits are shared candidate by candidate, so that one decision stands for many sites.

1. Sites are tied all together ("all"), with those of the same output size ("stage"), or with those whose weight has the
   same shape and that have the same stride and groups ("shape").
2. The logit of a candidate (kernel and dilation) is the mean of the `alpha` of all tied sites that have this candidate
   and still have a choice. So each of these alphas gets the mean of the sites' gradients, and a learning rate means the
   same with ties as without.
3. Each site draws noise of its own: a step gathers as many draws of one mixture as there are sites.
4. Tied sites with the same candidates make one decision: they always choose alike. Where lists differ, because a conv's
   own kernel is in one alone or a candidate does not fit everywhere, rule 2 is what they share, and sites with the same
   list decide together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from dashfx.errors import ConfigError, did_you_mean
from dashfx.ops.aggconv import AggConv
from dashfx.space import Candidate

Tying = Literal["none", "all", "stage", "shape"]


class Tie:
    """Sites with shared logits (rule 2)."""

    def __init__(self, sites: Sequence[AggConv]) -> None:
        self.sites = tuple(sites)
        self._lists: tuple[tuple[Candidate, ...], ...] = ()
        self._share = self._index = torch.empty(0)

    def logits(self) -> dict[int, Tensor]:
        """id of a site -> (n_candidates,), with gradient for the alphas of all; its own where it has no choice left."""
        free = [site for site in self.sites if len(site.candidates) > 1]
        found: dict[int, Tensor] = {id(site): site.alpha for site in self.sites}
        if not free:
            return found
        own = torch.cat([site.alpha for site in free])
        self._prepare(free, own)
        # No matrix product: autocast would round its terms. Sums that are looked up are the same bits at every site.
        shared = (self._share * own).sum(-1)[self._index]
        parts = shared.split([len(site.candidates) for site in free])
        return found | {id(site): part for site, part in zip(free, parts, strict=True)}

    def _prepare(self, free: Sequence[AggConv], own: Tensor) -> None:
        """Tables for the candidates that there are now: who has a part in which logit, and which logit is whose."""
        lists = tuple(site.candidates for site in free)
        if lists == self._lists and self._share.device == own.device and self._share.dtype == own.dtype:
            return
        flat = [candidate for each in lists for candidate in each]
        place = {candidate: i for i, candidate in enumerate(dict.fromkeys(flat))}
        index = torch.tensor([place[candidate] for candidate in flat])
        member = (index == torch.arange(len(place))[:, None]).double()  # (n_distinct, n_all)
        self._lists, self._index = lists, index.to(own.device)
        self._share = (member / member.sum(-1, keepdim=True)).to(own)


def tie(sites: Mapping[str, AggConv], by: Tying) -> None:
    """Tie the sites of a supernet (rule 1); "none" unties them.

    Raises:
        ConfigError: no such way, or sites that were built by hand and have no size.
    """
    if by not in get_args(Tying):
        raise ConfigError(f"tie {by!r}{did_you_mean(by, get_args(Tying))}: there are {', '.join(get_args(Tying))}")
    groups: dict[Any, list[AggConv]] = {}
    for name, site in sites.items():
        site.tie = None
        groups.setdefault(KEYS[by](name, site), []).append(site)
    for group in groups.values():
        if len(group) > 1:
            shared = Tie(group)
            for site in group:
                site.tie = shared


def logits_of(sites: Mapping[str, AggConv]) -> list[Tensor]:
    """What each site's mixture is made from, (n_candidates,), in their order; what is shared is computed once."""
    shared: dict[int, Tensor] = {}
    for each in {id(site.tie): site.tie for site in sites.values() if site.tie is not None}.values():
        shared |= each.logits()
    return [shared.get(id(site), site.alpha) for site in sites.values()]


def decisions_of(sites: Mapping[str, AggConv]) -> list[list[str]]:
    """The names of the sites that choose together (rule 4), in the order of the sites; an untied one decides alone."""
    found: dict[Any, list[str]] = {}
    for name, site in sites.items():
        key = name if site.tie is None else (id(site.tie), frozenset(alive(site)))
        found.setdefault(key, []).append(name)
    return list(found.values())


def alike(sites: Mapping[str, AggConv], name: str) -> list[str]:
    """The sites that make one decision with this one, itself included."""
    return next(names for names in decisions_of(sites) if name in names)


def alive(site: AggConv) -> list[Candidate]:
    """The candidates that are left."""
    return [candidate for candidate, kept in zip(site.candidates, site.mask.tolist(), strict=True) if kept]


def _size(name: str, site: AggConv) -> Any:
    if site.site is None:
        raise ConfigError(f"tie 'stage': site {name!r} was built by hand and has no size; tie all, or by shape")
    return site.site.output_size(site.site.input_size)


def _shape(name: str, site: AggConv) -> Any:
    return site.out_channels, site.in_channels // site.groups, site.original.kernel, site.stride, site.groups


KEYS: dict[str, Callable[[str, AggConv], Any]] = {
    "none": lambda name, site: name,
    "all": lambda name, site: site.ndim,
    "stage": _size,
    "shape": _shape,
}
