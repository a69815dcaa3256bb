"""Channel axes of tensors: groups of channels that always change together, and how an axis is made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


class Group:
    """Channels that several tensors have in common, such as all that meet in residual adds.

    Attributes:
        size: how many there are.
        why: reasons why their number cannot change; empty where it can.
    """

    def __init__(self, size: int, why: str = "") -> None:
        self.size, self.why = size, [why] if why else []
        self._into: Group | None = None

    @property
    def root(self) -> Group:
        """The group that it has been joined into."""
        return self if self._into is None else self._into.root

    def join(self, other: Group) -> None:
        mine, theirs = self.root, other.root
        if mine is not theirs:
            theirs._into = mine
            mine.why += theirs.why

    def fix(self, why: str) -> None:
        self.root.why.append(why)


@dataclass(frozen=True)
class Segment:
    """A whole group, as a part of an axis."""

    group: Group

    @property
    def root(self) -> Group:
        return self.group.root


@dataclass(frozen=True)
class Axis:
    """The channel axis of a tensor: groups one after another, each channel `inner` times, as a flatten leaves it."""

    segments: tuple[Segment, ...]
    inner: int = 1

    @classmethod
    def of(cls, group: Group) -> Axis:
        return cls((Segment(group),))

    @property
    def size(self) -> int:
        return self.inner * sum(segment.root.size for segment in self.segments)

    @property
    def groups(self) -> list[Group]:
        return [segment.root for segment in self.segments]

    def has(self, group: Group) -> bool:
        return any(each is group.root for each in self.groups)

    def fix(self, why: str) -> None:
        for each in self.groups:
            each.fix(why)

    def join(self, other: Axis, why: str) -> None:
        """Both axes are one from here on; where their parts do not lie alike, all of them are fixed."""
        sizes = [[group.size for group in axis.groups] for axis in (self, other)]
        if sizes[0] == sizes[1] and self.inner == other.inner:
            for mine, theirs in zip(self.groups, other.groups, strict=True):
                mine.join(theirs)
        else:
            self.fix(why)
            other.fix(why)

    def places(self, group: Group, index: Sequence[int]) -> Tensor:
        """(new size,): which position of the axis as it is each one of the new axis is taken from.

        Args:
            index: of each new channel of the group, the old one.
        """
        parts, first = [], 0
        for each in self.groups:
            own = torch.tensor(list(index) if each is group.root else list(range(each.size)), dtype=torch.long)
            parts.append(own + first)
            first += each.size
        channels = torch.cat(parts)
        return (channels[:, None] * self.inner + torch.arange(self.inner)).flatten()

    def spread(self, group: Group, shares: Tensor) -> Tensor:
        """(new size,): the factor of each position: that of its channel in the group, 1 elsewhere."""
        parts = [shares if each is group.root else shares.new_ones(each.size) for each in self.groups]
        return torch.cat(parts).repeat_interleave(self.inner)
