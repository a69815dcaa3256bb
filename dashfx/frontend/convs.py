"""Facts of a plain torch.nn conv, read from the module and written to it: padding as numbers, weight-norm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils import parametrizations, parametrize
from torch.nn.utils.parametrizations import _WeightNorm
from torch.nn.utils.weight_norm import WeightNorm as HookWeightNorm
from torch.nn.utils.weight_norm import weight_norm

from dashfx.site import Site, WeightNorm
from dashfx.space import Candidate, Padding

PLAIN: tuple[type[_ConvNd], ...] = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def plain_conv(site: Site, candidate: Candidate, device: torch.device, dtype: torch.dtype) -> _ConvNd:
    """A torch.nn conv with `candidate`'s kernel, dilation and padding in the place that `site` describes.

    Its weights are for the caller to fill: none are drawn, so the random state stays.
    """
    make: Callable[..., _ConvNd] = PLAIN[site.ndim - 1]
    conv = make(
        site.in_channels,
        site.out_channels,
        candidate.kernel,
        stride=site.stride,
        dilation=candidate.dilation,
        groups=site.groups,
        bias=site.bias,
        device="meta",
        dtype=dtype,
    ).to_empty(device=device)
    write_padding(conv, site.padding_of(candidate), site.padding_mode)
    return conv


def read_padding(conv: _ConvNd) -> Padding:
    """The padding of a conv as numbers, (left, right) per axis; "same" puts the odd one on the right, as torch does."""
    if conv.padding_mode != "zeros":  # then torch pads by this list, last axis first
        flat = list(conv._reversed_padding_repeated_twice)
        return tuple((flat[i], flat[i + 1]) for i in range(len(flat) - 2, -1, -2))
    if conv.padding == "valid":
        return tuple((0, 0) for _ in conv.kernel_size)
    if conv.padding == "same":
        extents = Candidate(conv.kernel_size, conv.dilation).extent
        return tuple((e // 2, e - e // 2) for e in extents)
    return tuple((int(p), int(p)) for p in conv.padding)


def read_padding_mode(conv: _ConvNd) -> str:
    """The padding mode as users know it: "zeros" also where `write_padding` has written "constant"."""
    return "zeros" if conv.padding_mode == "constant" else conv.padding_mode


def write_padding(conv: _ConvNd, padding: Padding, mode: str) -> None:
    """Give a conv any padding, also lopsided or negative, without another module and so without another state_dict key.

    A conv whose padding_mode is not "zeros" pads by `_reversed_padding_repeated_twice` through F.pad, which takes a
    number for each side; mode "constant" there is zero padding.
    """
    lopsided = any(left != right or left < 0 for left, right in padding)
    conv.padding = tuple(max(left, 0) for left, _ in padding)
    pad_by: Any = "constant" if mode == "zeros" and lopsided else mode  # torch's annotation names documented modes only
    conv.padding_mode = pad_by
    conv._reversed_padding_repeated_twice = [side for pair in reversed(padding) for side in pair]


def read_weight_norm(module: nn.Module) -> WeightNorm | None:
    """Which of torch's two weight normalisations the conv's weight carries, if any."""
    for hook in module._forward_pre_hooks.values():
        if isinstance(hook, HookWeightNorm) and hook.name == "weight":
            return WeightNorm("hook", hook.dim)
    if parametrize.is_parametrized(module, "weight"):
        norm = module.parametrizations.weight[0]  # type: ignore[index,union-attr]
        if isinstance(norm, _WeightNorm):
            return WeightNorm("parametrization", norm.dim)
    return None


def frozen_of(conv: nn.Module) -> tuple[str, ...]:
    """Which of "weight" and "bias" are not trained; with a norm, "weight" stands for its magnitude and direction."""
    weights = [p for name, p in conv.named_parameters() if name != "bias"]
    bias = conv._parameters.get("bias")
    frozen = [("weight", weights), ("bias", [] if bias is None else [bias])]
    return tuple(what for what, given in frozen if given and not any(p.requires_grad for p in given))


def freeze(conv: nn.Module, frozen: tuple[str, ...]) -> None:
    """Put back what `frozen_of` found."""
    for name, parameter in conv.named_parameters():
        if ("bias" if name == "bias" else "weight") in frozen:
            parameter.requires_grad_(False)


def unfold_weight_norm(conv: nn.Module, norm: WeightNorm) -> None:
    """Put a folded weight-norm back; the weight stays the same and the keys are those of the user's model.

    What is all zeros has magnitude 0 and a direction drawn by a seed of its own, since zeros have none.
    """
    trained = conv.get_parameter("weight").requires_grad
    normalise = weight_norm if norm.kind == "hook" else parametrizations.weight_norm
    normalise(conv, "weight", dim=norm.dim)
    direction = conv.get_parameter(weight_norm_keys(norm)[1])
    with torch.no_grad():
        zeros = torch.norm_except_dim(direction, 2, -1 if norm.dim is None else norm.dim) == 0
        drawn = torch.randn(direction.shape, generator=torch.Generator().manual_seed(0)).to(direction)
        direction.copy_(torch.where(zeros, drawn, direction))
    for hook in [h for h in conv._forward_pre_hooks.values() if isinstance(h, HookWeightNorm)]:
        hook(conv, None)  # what it has computed from zeros is no number
    for key in weight_norm_keys(norm):
        conv.get_parameter(key).requires_grad_(trained)


def weight_norm_keys(norm: WeightNorm) -> tuple[str, str]:
    """The two state_dict keys, magnitude and direction, that stand for `weight`."""
    if norm.kind == "hook":
        return "weight_g", "weight_v"
    return "parametrizations.weight.original0", "parametrizations.weight.original1"
