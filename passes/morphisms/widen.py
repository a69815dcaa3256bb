"""Net2Wider: a conv gets more output channels, copies of those that it has, and what reads them shares them out.

Chen, Goodfellow and Shlens, "Net2Net: Accelerating Learning via Knowledge Transfer", ICLR 2016, section 2.2; as an
action of a search: Cai et al., "Efficient Architecture Search by Network Transformation", AAAI 2018.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from dashfx.frontend.tracing import Program
from dashfx.passes.base import Edit
from dashfx.passes.channels import Group, blocks, follow, resize
from dashfx.passes.morphisms.base import Morphism


@dataclass(frozen=True)
class Widen(Morphism):
    """Give the conv `at` so many output channels.

    1. New channel j is a copy of channel g(j), drawn evenly by `seed` (after the random mapping of Net2Net).
    2. Layers that read a channel which has copies share its weight out: the shares add up to 1. They are drawn, not
       equal as in the paper, so that copies learn different things from the first step on.
    3. All tensors that meet in adds and products are widened together, with the convs that give them; norms, depthwise
       convs and PReLU get their numbers copied; of concatenations only this part changes.
    4. Channels of grouped convs are copied within their groups, in equal numbers.

    Refused, with the reason: fewer channels than there are; channels that are the model's input or output, that a
    layer across channels works on (layer norm, group norm, softmax), or that code of the user's reads; a number that
    the groups do not divide; weight-norm.
    """

    to: int
    seed: int = 0
    paper: ClassVar[str] = "Chen et al., Net2Net, ICLR 2016; Cai et al., EAS, AAAI 2018"
    row: ClassVar[str] = "52"

    def rewrite(self, program: Program) -> list[Edit]:
        conv = self.conv(program)
        if conv.out_channels == self.to:
            return []
        if self.to < conv.out_channels:
            raise self.fail(f"{self.at!r} has {conv.out_channels} channels, {self.to} are fewer: widening adds some")
        channels = follow(program)
        axis = channels.outputs.get(self.at) or channels.own.get(self.at)
        if axis is None or len(axis.segments) > 1:
            raise self.fail(f"{self.at!r}: its channels cannot be followed through the graph")
        group = axis.segments[0].root
        if group.why:
            raise self.fail(f"{self.at!r}: its {group.size} channels cannot become {self.to}: {group.why[0]}")
        index, shares = self._drawn(program, group, blocks(program, channels, group))
        before = group.size
        changed = resize(program, channels, group, index, shares)
        others = [name for name in changed if name != self.at]
        along = f", with {', '.join(others)}" if others else ""
        return [Edit(self.at, f"{before} channels become {self.to}{along}")]

    def _drawn(self, program: Program, group: Group, parts: int) -> tuple[list[int], Tensor]:
        """g, block by block, and the share of each new channel."""
        if self.to % parts:
            raise self.fail(f"{self.at!r}: {self.to} channels do not divide into the {parts} groups that see them")
        old, new = group.size // parts, self.to // parts
        generator = torch.Generator().manual_seed(self.seed)
        index: list[int] = []
        for part in range(parts):
            drawn: list[int] = []
            while len(drawn) < new - old:  # evenly: none is copied twice before all are copied once
                drawn += torch.randperm(old, generator=generator).tolist()
            index += [part * old + i for i in [*range(old), *drawn[: new - old]]]
        weights = 0.5 + torch.rand(self.to, generator=generator, dtype=torch.float64)
        totals = torch.zeros(group.size, dtype=torch.float64).index_add_(0, torch.tensor(index), weights)
        return index, weights / totals[index]
