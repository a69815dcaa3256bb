"""Modules and parameters whose sizes follow widths: which axis has which channels, and how they are made smaller."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.modules.instancenorm import _InstanceNorm
from torch.nn.utils import parametrize
from torch.nn.utils.weight_norm import WeightNorm as HookWeightNorm

from dashfx.frontend.convs import read_weight_norm, weight_norm_keys

Role = Literal["dense", "depthwise", "channelwise", "parameter"]
# The classes whose forward is known; a subclass counts where it has that forward.
LINEAR = (nn.Linear,)
CHANNELWISE: tuple[type[nn.Module], ...] = (_BatchNorm, _InstanceNorm, nn.PReLU)
CONVS = (
    *(nn.Conv1d, nn.Conv2d, nn.Conv3d),
    *(nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
)


@dataclass(frozen=True)
class Part:
    """A module, or a parameter that the model's own code reads, with the units of its channels.

    Attributes:
        name: module path, or path of the parameter.
        role: "dense" reads all inputs for each output (convs, also grouped ones, and linear layers), "depthwise" one
            input for each output, "channelwise" has numbers for each channel, such as a norm, and "parameter" is a
            tensor whose axis `axis` has channels.
        ins, outs: unit of each input and output channel, -1 for one that stays; `ins` only where dense.
        groups: of a dense conv.
        positions: how many outputs a channel has over all calls, for one input row, and `taps` numbers of the weight
            for a pair of channels: multiply-adds are their product.
        each: parameters for an output channel beside those, such as a bias.
        axis: the axis that inputs have their channels on, or of the parameter.
    """

    name: str
    role: Role
    ins: tuple[int, ...] = ()
    outs: tuple[int, ...] = ()
    groups: int = 1
    positions: int = 0
    taps: int = 1
    each: int = 0
    axis: int = 1


def is_plain(module: nn.Module, kinds: tuple[type[nn.Module], ...]) -> bool:
    """Whether a module computes what one of these classes does: its forward is theirs and no user's hook changes it."""
    kind = next((kind for kind in kinds if isinstance(module, kind)), None)
    if kind is None or type(module).forward is not kind.forward:
        return False
    norm = read_weight_norm(module)
    hooks = len(module._forward_hooks) + len(module._forward_pre_hooks) - (norm is not None and norm.kind == "hook")
    parametrised = parametrize.is_parametrized(module) and (norm is None or norm.kind != "parametrization")
    return hooks == 0 and not parametrised


def narrow(model: nn.Module, part: Part, kept: Sequence[bool]) -> bool:
    """Make a part of `model` smaller in place, to the units that are kept; whether there was anything to do.

    Args:
        kept: of every unit, whether it stays.
    """
    ins, outs = places(part.ins, kept), places(part.outs, kept)
    if len(ins) == len(part.ins) and len(outs) == len(part.outs):
        return False
    if part.role == "parameter":
        owner, _, key = part.name.rpartition(".")
        _take(model.get_submodule(owner), key, part.axis, outs)
        return True
    _narrowed(model.get_submodule(part.name), part, ins, outs)
    return True


def places(units: Sequence[int], kept: Sequence[bool]) -> list[int]:
    """The places along an axis that stay."""
    return [place for place, unit in enumerate(units) if unit < 0 or kept[unit]]


def _narrowed(module: nn.Module, part: Part, ins: list[int], outs: list[int]) -> None:
    if isinstance(module, nn.Linear):
        _take_weight(module, outs, ins)
        _take(module, "bias", 0, outs)
        module.in_features, module.out_features = len(ins), len(outs)
    elif isinstance(module, _ConvNd):
        _narrow_conv(module, part, ins, outs)
    else:
        for key in ("weight", "bias", "running_mean", "running_var"):
            held = getattr(module, key, None)
            if held is not None and held.numel() == len(part.outs):
                _take(module, key, 0, outs)
        name = "num_parameters" if isinstance(module, nn.PReLU) else "num_features"
        setattr(module, name, len(outs))


def _narrow_conv(conv: _ConvNd, part: Part, ins: list[int], outs: list[int]) -> None:
    # (out, in / groups, *k), and (in, out / groups, *k) of a transposed conv
    transposed = isinstance(conv, _ConvTransposeNd)
    if part.role == "depthwise":
        each = conv.out_channels // conv.in_channels
        first = [place // each for place in outs[::each]] if transposed else outs
        _take_weight(conv, first)
        conv.in_channels = conv.groups = len(outs) // each
    else:
        whole, shared = (ins, outs) if transposed else (outs, ins)
        length = (conv.out_channels if transposed else conv.in_channels) // conv.groups
        _take_weight(conv, whole, [place for place in shared if place < length])
        conv.in_channels = len(ins)
    _take(conv, "bias", 0, outs)
    conv.out_channels = len(outs)


def fold(model: nn.Module, part: Part, values: Tensor) -> None:
    """Let a conv or linear layer's weight do what numbers at its inputs did.

    Args:
        values: (units,) what each channel was multiplied with.
    """
    module = model.get_submodule(part.name)
    each = torch.cat([values, values.new_ones(1)])[list(part.ins)]  # -1 for what stays

    def scaled(weight: Tensor) -> Tensor:
        each_in = each.to(weight)
        rest = (1,) * (weight.ndim - 2)
        if isinstance(module, _ConvTransposeNd):  # (in, out / groups, *k)
            return weight * each_in.reshape(-1, 1, *rest)
        rows = each_in.reshape(part.groups, 1, -1).expand(-1, weight.shape[0] // part.groups, -1)
        return weight * rows.reshape(*weight.shape[:2], *rest)  # (out, in / groups, *k)

    _change_weight(module, scaled)


def _take_weight(module: nn.Module, *places: list[int]) -> None:
    """Keep these places of a weight's first axes."""

    def less(weight: Tensor) -> Tensor:
        for axis, each in enumerate(places):
            weight = weight.index_select(axis, torch.tensor(each, device=weight.device))
        return weight

    _change_weight(module, less)


def _change_weight(module: nn.Module, change: Callable[[Tensor], Tensor]) -> None:
    """Change a weight; of one under weight-norm what the norm makes, of which its parts are found anew."""
    norm = read_weight_norm(module)
    with torch.no_grad():
        if norm is None:
            held: Any = module.weight
            module.weight = nn.Parameter(change(held.detach()).clone(), held.requires_grad)
            return
        magnitude, direction = (_owner(module, key) for key in weight_norm_keys(norm))
        dim = -1 if norm.dim is None else norm.dim
        weight = change(torch._weight_norm(getattr(*direction), getattr(*magnitude), dim))
        size = torch.norm_except_dim(weight, 2, dim)
        ones = torch.where(size == 0, torch.ones_like(weight), weight)  # zeros have no direction
    for (owner, key), value in ((magnitude, size), (direction, ones)):
        setattr(owner, key, nn.Parameter(value.clone(), getattr(owner, key).requires_grad))
    for hook in [each for each in module._forward_pre_hooks.values() if isinstance(each, HookWeightNorm)]:
        hook(module, None)


def _owner(module: nn.Module, key: str) -> tuple[nn.Module, str]:
    path, _, name = key.rpartition(".")
    return module.get_submodule(path), name


def _take(module: nn.Module, key: str, axis: int, places: list[int]) -> None:
    """Keep these places of a parameter or buffer along an axis; a frozen parameter stays frozen."""
    held: Tensor | None = getattr(module, key, None)
    if held is None or len(places) == held.shape[axis]:
        return
    with torch.no_grad():
        less = held.detach().index_select(axis, torch.tensor(places, device=held.device)).clone()
    setattr(module, key, nn.Parameter(less, held.requires_grad) if isinstance(held, nn.Parameter) else less)
