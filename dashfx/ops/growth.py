"""Growth of a searched conv from a trained one: the taps that candidates share with it, and what they lack."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dashfx.errors import SpaceError
from dashfx.ops.algorithms.base import aggregate
from dashfx.ops.geometry import ConvSpec, Points, lattice_on

if TYPE_CHECKING:
    from dashfx.ops.aggconv import AggConv


def check_source(site: AggConv, weight: Tensor, bias: Tensor | None) -> None:
    """Whether a site can grow from a conv's weight and bias.

    Raises:
        SpaceError: shapes that are not the original conv's.
    """
    expected = site.out_channels, site.in_channels // site.groups, *site.original.kernel
    if tuple(weight.shape) != expected:
        raise SpaceError(f"{site._where()}cannot grow from weights {tuple(weight.shape)}; {expected} are needed")
    if bias is not None and (site.bias is None or bias.shape != site.bias.shape):
        raise SpaceError(f"{site._where()}a bias {tuple(bias.shape)} does not fit; build AggConv with bias=True")


def shared_taps(taps: Points, others: Points) -> Tensor:
    """1 at the taps that are among the others too, else 0: an axis of it for each axis of theirs."""
    shared = torch.ones(())
    for own, other in zip(taps, others, strict=True):
        shared = shared.unsqueeze(-1) * torch.tensor([float(tap in other) for tap in own])
    return shared


def covered(spec: ConvSpec, taps: Points) -> Tensor:
    """1 where a candidate has one of the taps: an axis for the candidates, then one for each of theirs."""
    return torch.stack([shared_taps(taps, spec.offsets(i)) for i in range(len(spec.candidates))])


def taps_of(kernel: Tensor, spec: ConvSpec, points: Points) -> Tensor:
    """The kernel of the one candidate of `spec` at other taps, zeros where it has none: (out, in / groups, *points)."""
    return aggregate([lattice_on(points, spec)], [kernel], kernel.new_ones(1))[0]


@torch.no_grad()
def lacking(site: AggConv) -> tuple[Tensor | None, ...]:
    """Of each candidate of a grown site what the original's kernel has at its taps beside what its family started as.

    It follows from the residual, so it is no part of a state; the site keeps it in `lacks`.
    """
    assert site.residual is not None
    if site.lacks is None or any(e is not None and e.device != site.residual.device for e in site.lacks):
        spec, found = ConvSpec((site.original,), (site.padding,), site.stride), list[Tensor | None]()
        for i, (family, c) in enumerate(zip(site.families, site.candidates, strict=True)):
            wanted = taps_of(site.residual, spec, site.spec.offsets(i))
            start = [] if family.exact else family.fit(wanted, site.theta(i), site.facts, c)
            found.append(None if family.exact else wanted - family.kernel(start, site.facts, c, wanted))
        site.lacks = tuple(found)
    return site.lacks
