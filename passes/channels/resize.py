"""Layers with other channels: weights are taken from the old ones by an index, and their readers may share them out."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from dashfx.frontend.tracing import Program
from dashfx.passes.channels.axes import Group
from dashfx.passes.channels.follow import Channels

COUNTS = ("num_features", "num_parameters", "in_channels", "out_channels", "groups")  # of what has a number a channel


@torch.no_grad()
def resize(
    program: Program, channels: Channels, group: Group, index: Sequence[int], shares: Tensor | None = None
) -> list[str]:
    """Give a group other channels, in place: in every layer that gives them, reads them, or has a number for each.

    Args:
        index: of each new channel, the old one that it is taken from, block by block as `blocks` says.
        shares: of each new channel, the factor of the weights that read it; 1 without. Where those of the copies of
            each channel add up to 1, the model computes what it did.

    Returns:
        the names of the layers.
    """
    factors = torch.ones(len(index), dtype=torch.float64) if shares is None else shares
    changed = []
    for name, axis in channels.inputs.items():
        if axis.has(group):
            _read(program.model.get_submodule(name), axis.places(group, index), axis.spread(group, factors))
            changed.append(name)
    for axes, change in ((channels.outputs, _given), (channels.own, _owned)):
        for name, axis in axes.items():
            if axis.has(group):
                change(program.model.get_submodule(name), axis.places(group, index))
                changed.append(name)
    group.root.size = len(index)
    return list(dict.fromkeys(changed))


def blocks(program: Program, channels: Channels, group: Group) -> int:
    """Into how many equal blocks of neighbours the group's channels fall, by the groups of the convs that see them."""
    seen = [name for axes in (channels.outputs, channels.inputs) for name, axis in axes.items() if axis.has(group)]
    layers = [program.model.get_submodule(name) for name in seen]
    return math.lcm(*(layer.groups for layer in layers if isinstance(layer, _ConvNd)))


def _read(layer: nn.Module, places: Tensor, factors: Tensor) -> None:
    """New input channels of a conv or a linear layer: (out, in / groups, ...) a group of rows reads its block."""
    weight = layer.get_parameter("weight")
    groups = layer.groups if isinstance(layer, _ConvNd) else 1
    rows = weight.chunk(groups)
    width, parts = weight.shape[1], []
    for number, (block, own) in enumerate(zip(rows, places.chunk(groups), strict=True)):
        parts.append(block.index_select(1, (own - number * width).to(weight.device)))
    factors = factors.to(weight).reshape(groups, 1, -1, *[1] * (weight.ndim - 2))
    whole = torch.stack(parts) * factors  # (groups, out / groups, in / groups, ...)
    _put(layer, "weight", whole.flatten(0, 1))
    setattr(layer, "in_channels" if isinstance(layer, _ConvNd) else "in_features", len(places))


def _given(layer: nn.Module, places: Tensor) -> None:
    """New output channels of a conv or a linear layer."""
    _take(layer, places)
    setattr(layer, "out_channels" if isinstance(layer, _ConvNd) else "out_features", len(places))


def _owned(layer: nn.Module, places: Tensor) -> None:
    """A number a channel: norms with their statistics, depthwise convs, PReLU."""
    _take(layer, places)
    for count in COUNTS:
        if hasattr(layer, count):
            setattr(layer, count, len(places))


def _take(layer: nn.Module, places: Tensor) -> None:
    tensors = {**dict(layer.named_parameters()), **dict(layer.named_buffers())}
    for name, tensor in tensors.items():
        if tensor.ndim:  # a count of batches has no axis
            _put(layer, name, tensor.index_select(0, places.to(tensor.device)))


def _put(layer: nn.Module, name: str, value: Tensor) -> None:
    if name in layer._parameters:
        old = layer.get_parameter(name)
        setattr(layer, name, nn.Parameter(value.contiguous(), requires_grad=old.requires_grad))
    else:
        setattr(layer, name, value.contiguous())
