"""Convs of several kernels: the plain module that a shared choice lowers to, and the conv of any choice at a site."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd

from dashfx.frontend.convs import plain_conv
from dashfx.site import Site
from dashfx.space import Candidate, Shared


# The source of this class is written into `load_model.py`: it uses torch and nn alone.
class SharedConv(nn.Module):
    """Convolutions of several kernels in the place of one; all give outputs of one size.

    Takes and gives what a torch.nn conv does. The `state_dict` has `parts.0.weight`, `parts.0.bias`, `parts.1.weight`
    and so on; of a sum only the first part has a bias.

    Args:
        how: "channels": each part gives some of the output channels, in order; "groups": each part also reads some of
            the input channels, in order; "sum": the outputs of all parts are added up.
    """

    def __init__(self, how: str, *parts: nn.modules.conv._ConvNd) -> None:
        super().__init__()
        self.parts, self.how = nn.ModuleList(parts), how
        reach = [[d * (k - 1) for k, d in zip(part.kernel_size, part.dilation, strict=True)] for part in parts]
        widest = parts[reach.index(max(reach))]
        self.kernel_size, self.dilation, self.stride = widest.kernel_size, widest.dilation, widest.stride
        self.reads = [part.in_channels for part in parts]
        self.in_channels = sum(self.reads) if how == "groups" else widest.in_channels
        self.out_channels = widest.out_channels if how == "sum" else sum(part.out_channels for part in parts)
        self.groups = sum(part.groups for part in parts) if how == "groups" else widest.groups

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        channels = -1 - len(self.kernel_size)  # the axis, of an input with a batch axis or without
        inputs = input.split(self.reads, channels) if self.how == "groups" else [input] * len(self.parts)
        outputs = [part(x) for part, x in zip(self.parts, inputs, strict=True)]
        return sum(outputs[1:], outputs[0]) if self.how == "sum" else torch.cat(outputs, channels)


def conv_for(site: Site, candidate: Candidate, device: torch.device, dtype: torch.dtype) -> _ConvNd | SharedConv:
    """The conv with a choice, in the place that `site` describes; its weights are for the caller to fill.

    Raises:
        SpaceError: there are fewer channels, or groups, than kernels to share them.
    """
    if not isinstance(candidate, Shared):
        return plain_conv(site, candidate, device, dtype)
    parts = [plain_conv(part_site, part, device, dtype) for part, part_site, _ in shares_of(site, candidate)]
    how = "groups" if candidate.how == "channels" and site.groups > 1 else candidate.how
    return SharedConv(how, *parts)


def shares_of(site: Site, choice: Shared) -> Iterator[tuple[Candidate, Site, slice]]:
    """Of each part: its kernel, the site as it alone would stand there, and which output channels it gives."""
    first = 0
    for number, (part, channels) in enumerate(choice.shares(site.out_channels, site.groups)):
        place = slice(first, first + channels)
        if choice.how == "sum":
            yield part, replace(site, bias=site.bias and number == 0), place
            continue
        groups = site.groups * channels // site.out_channels if site.groups > 1 else 1
        reads = site.in_channels // site.groups * groups
        yield part, replace(site, in_channels=reads, out_channels=channels, groups=groups), place
        first += channels


def parts_in(conv: nn.Module) -> list[_ConvNd]:
    """The torch.nn convs that it holds, or that it is."""
    return [part for part in conv.modules() if isinstance(part, _ConvNd)]
