"""Path-level morphisms: a conv becomes several side by side, whose outputs are added up or put one after another.

Cai, Yang, Zhang, Han and Yu, "Path-Level Network Transformation for Efficient Architecture Search", ICML 2018,
section 3.1 (replication-add and the split of output channels).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd

from dashfx.frontend.convs import read_weight_norm
from dashfx.frontend.shared import SharedConv
from dashfx.frontend.tracing import Program
from dashfx.passes.base import Edit
from dashfx.passes.morphisms.base import HOOKS, Morphism, put


@dataclass(frozen=True)
class Branch(Morphism):
    """Put `n` convs in the place of the conv `at`.

    1. `merge="add"`: each is a copy of it with 1/n of its weights, the first with its bias, and outputs are added up.
       As they are, all n learn alike: the use of it is that each can become another one, by `Enlarge` or a search.
    2. `merge="cat"`: each gives some of its output channels, the first ones one more where that does not come out
       even; of a grouped conv so many groups, with the input channels that they read.
    3. What stands there is a `SharedConv`; the branches are `at.parts.0` and so on, and are branched again so.

    Refused: fewer than two branches, more of them than channels or groups to share, and weight-norm.
    """

    n: int = 2
    merge: Literal["add", "cat"] = "add"
    paper: ClassVar[str] = "Cai et al., Path-Level Network Transformation, ICML 2018"
    row: ClassVar[str] = "95"

    def rewrite(self, program: Program) -> list[Edit]:
        conv = self.conv(program)
        units, what = (conv.groups, "groups") if conv.groups > 1 else (conv.out_channels, "output channels")
        if self.merge not in ("add", "cat"):
            raise self.fail(f"{self.at!r}: branches are merged by 'add' or 'cat', not by {self.merge!r}")
        if self.n < 2:
            raise self.fail(f"{self.at!r}: {self.n} branches are no branches; give 2 or more")
        if self.merge == "cat" and units < self.n:
            raise self.fail(f"{self.at!r}: {self.n} branches cannot share its {units} {what}")
        if read_weight_norm(conv) is not None:
            raise self.fail(f"{self.at!r} has weight-norm, which its branches cannot have together")
        if self.merge == "add":
            parts, how = [_part_of_sum(conv, number, self.n) for number in range(self.n)], "sum"
        else:
            parts, how = _parts_by_channels(conv, units, self.n), "groups" if conv.groups > 1 else "channels"
        put(program, self.at, SharedConv(how, *parts), hooks=True)
        return [Edit(self.at, f"{self.n} convs, merged by {self.merge}")]


def _copy_of(conv: _ConvNd) -> _ConvNd:
    twin = copy.deepcopy(conv)
    for hooks in HOOKS:
        getattr(twin, hooks).clear()  # they stay with the whole
    return twin


@torch.no_grad()
def _part_of_sum(conv: _ConvNd, number: int, n: int) -> _ConvNd:
    part = _copy_of(conv)
    part.weight /= n
    if number:
        part.register_parameter("bias", None)
    return part


@torch.no_grad()
def _parts_by_channels(conv: _ConvNd, units: int, n: int) -> list[_ConvNd]:
    each, parts, first = conv.out_channels // units, list[_ConvNd](), 0
    for number in range(n):
        count = units // n + (number < units % n)
        part, rows = _copy_of(conv), slice(each * first, each * (first + count))
        part.weight = nn.Parameter(conv.weight[rows].clone(), conv.weight.requires_grad)
        if conv.bias is not None:
            part.bias = nn.Parameter(conv.bias[rows].clone(), conv.bias.requires_grad)
        part.out_channels = each * count
        if conv.groups > 1:
            part.in_channels, part.groups = conv.in_channels // units * count, count
        first += count
        parts.append(part)
    return parts
