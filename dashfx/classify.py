"""A model's conv modules and what a run saw of them go in; sites and skips with reasons come out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.utils import parametrize
from torch.nn.utils.weight_norm import WeightNorm as HookWeightNorm

from dashfx.convs import PLAIN, read_padding, read_weight_norm
from dashfx.observe import Observation, is_conv
from dashfx.site import Site, Skip
from dashfx.space import Candidate

FIX = "make it an nn.Conv module to have it searched"


def classify(model: nn.Module, seen: Observation) -> tuple[dict[str, Site], list[Skip]]:
    """Every conv of the model as a Site or as a Skip, none left out; sites in the order of their first call."""
    names: dict[nn.Module, list[str]] = defaultdict(list)
    for name, module in model.named_modules(remove_duplicate=False):
        if is_conv(module):
            names[module].append(name)
    order = [*seen.inputs, *(module for module in names if module not in seen.inputs)]
    owners = _weight_owners(names)
    sites, skips = {}, []
    for module in order:
        name, *aliases = names[module]
        reason = next((why for why in (rule(module, name, seen, owners) for rule in RULES) if why), None)
        if reason:
            skips.append(Skip(name, reason))
        else:
            sites[name] = _site(module, name, tuple(aliases), seen)
    skips += [
        Skip(f"{where or '(the model)'}: {name}", f"functional {name} in a forward: no module to replace; {FIX}")
        for where, name in seen.functional
    ]
    skips += [
        Skip(name, "scripted (torch.jit): give the module that was scripted instead")
        for name, module in model.named_modules()
        if isinstance(module, torch.jit.ScriptModule) and str(module.original_name).startswith("Conv")
    ]
    return sites, skips


def _site(module: nn.Module, name: str, aliases: tuple[str, ...], seen: Observation) -> Site:
    known = getattr(module, "site", None)
    if isinstance(known, Site):
        return known
    assert isinstance(module, _ConvNd)
    ndim = len(module.kernel_size)
    sizes = tuple(dict.fromkeys(shape[-ndim:] for shape in seen.inputs[module]))
    return Site(
        name=name,
        in_channels=module.in_channels,
        out_channels=module.out_channels,
        original=Candidate(module.kernel_size, module.dilation),
        stride=tuple(module.stride),
        padding=read_padding(module),
        groups=module.groups,
        bias=module.bias is not None,
        padding_mode="zeros" if module.padding_mode == "constant" else module.padding_mode,
        input_sizes=sizes,
        calls=len(seen.inputs[module]),
        aliases=aliases,
        weight_norm=read_weight_norm(module),
    )


Owners = dict[int, list[str]]
Rule = Callable[[nn.Module, str, Observation, Owners], str | None]


def _weight_owners(names: dict[nn.Module, list[str]]) -> Owners:
    owners: Owners = defaultdict(list)
    for module, (name, *_) in names.items():
        for parameter in module.parameters():
            owners[id(parameter)].append(name)
    return owners


def _already_rewritten(module: nn.Module) -> bool:
    return isinstance(getattr(module, "site", None), Site)


def _root(module: nn.Module, name: str, seen: Observation, owners: Owners) -> str | None:
    return "the model itself is one conv: wrap it in nn.Sequential" if name == "" else None


def _uncalled(module: nn.Module, name: str, seen: Observation, owners: Owners) -> str | None:
    if module in seen.inputs or seen.readers.get(module):
        return None
    return "not called as a module by a forward pass on the example"


def _transposed(module: nn.Module, name: str, seen: Observation, owners: Owners) -> str | None:
    if not isinstance(module, _ConvTransposeNd):
        return None
    return "transposed conv: its kernel sets the output size, so other kernels do not fit in its place"


def _own_forward(module: nn.Module, name: str, seen: Observation, owners: Owners) -> str | None:
    if _already_rewritten(module):
        return None
    base = next((b for b in PLAIN if isinstance(module, b)), None)
    if base is None:
        return f"{type(module).__name__} is not one of nn.Conv1d, nn.Conv2d, nn.Conv3d"
    own = {name for name in ("forward", "_conv_forward") if getattr(type(module), name) is not getattr(base, name)}
    if own or "forward" in vars(module):
        return f"{type(module).__name__} computes its convolution in a forward of its own"
    return None


def _parametrised(module: nn.Module, name: str, seen: Observation, owners: Owners) -> str | None:
    if parametrize.is_parametrized(module):
        stacks: dict[str, Any] = dict(cast(nn.ModuleDict, module.parametrizations).items())
        tensors = list(stacks)
        single = tensors == ["weight"] and len(stacks["weight"]) == 1
        if not (single and read_weight_norm(module)):
            return f"its {' and '.join(tensors)} is parametrised by something other than weight-norm"
    computed = [h for h in module._forward_pre_hooks.values() if type(h).__module__.startswith("torch.nn.utils")]
    if any(not isinstance(hook, HookWeightNorm) for hook in computed):
        return f"its weight is computed by {type(computed[0]).__name__} at each forward"
    return None


def _pointwise(module: nn.Module, name: str, seen: Observation, owners: Owners) -> str | None:
    if isinstance(module, _ConvNd) and max(module.kernel_size) == 1:
        return "pointwise (kernel 1): no spatial support to search"
    return None


def _complex(module: nn.Module, name: str, seen: Observation, owners: Owners) -> str | None:
    if any(p.is_complex() for p in module.parameters()):
        return "complex weights"
    return None


def _tied(module: nn.Module, name: str, seen: Observation, owners: Owners) -> str | None:
    others = {other for p in module.parameters() for other in owners[id(p)] if other != name}
    return f"shares its weight with {', '.join(sorted(others))}" if others else None


def _read_elsewhere(module: nn.Module, name: str, seen: Observation, owners: Owners) -> str | None:
    readers = seen.readers.get(module)
    if not readers:
        return None
    what = " and ".join(sorted({what for what, _ in readers}))
    where = ", ".join(sorted({where or "the model" for _, where in readers}))
    return f"its {what} is read by the code of {where}, which would miss the new one"


RULES: tuple[Rule, ...] = (
    _root,
    _uncalled,
    _transposed,
    _pointwise,
    _own_forward,
    _parametrised,
    _complex,
    _tied,
    _read_elsewhere,
)
