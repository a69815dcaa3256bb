"""A model's conv modules and what a run saw of them go in; sites and skips with reasons come out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import _SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm as HookWeightNorm

from dashfx.errors import AdapterError
from dashfx.frontend.adapters import adapter_of, as_plain, check, is_causal
from dashfx.frontend.convs import PLAIN, frozen_of, read_padding, read_padding_mode, read_weight_norm
from dashfx.frontend.custom_forward import has_custom_forward, input_of, measure, only_norm
from dashfx.frontend.recording import Recording, is_conv, is_searchable, users_modules
from dashfx.site import Site, Skip
from dashfx.space import Candidate

UNDO_PARAMETRISATION = "call torch.nn.utils.parametrize.remove_parametrizations on it"
FIX = "make it an nn.Conv module to have it searched"


def classify(model: nn.Module, seen: Recording) -> tuple[dict[str, Site], list[Skip]]:
    """Every conv of the model as a Site or as a Skip, none left out; sites in the order of their first call."""
    names: dict[nn.Module, list[str]] = defaultdict(list)
    for name, module in users_modules(model):
        if is_conv(module):
            names[module].append(name)
    order = [*seen.inputs, *(module for module in names if module not in seen.inputs)]
    owners = _weight_owners(names)
    sites, skips = {}, []
    for module in order:
        name, *aliases = names[module]
        reason = next((why for why in (rule(module, name, seen, owners) for rule in RULES) if why), None)
        found = Skip(name, reason) if reason else _site(module, name, tuple(aliases), seen)
        if isinstance(found, Skip):
            skips.append(found)
        else:
            sites[name] = found
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


def _site(module: nn.Module, name: str, aliases: tuple[str, ...], seen: Recording) -> Site | Skip:
    known, adapter = getattr(module, "site", None), adapter_of(module)
    if isinstance(known, Site):
        return known
    if adapter:
        try:
            check(module, adapter, input_of(seen.calls[module]))
        except AdapterError as error:
            if adapter.shipped:  # made for another version of the package
                return Skip(name, str(error))
            raise
        plain = as_plain(module, adapter)
        return replace(_plain_site(module, plain, name, aliases, seen), adapted=True, causal=is_causal(plain))
    assert isinstance(module, _ConvNd)
    site = _plain_site(module, module, name, aliases, seen)
    if not has_custom_forward(module):
        return site
    measured = measure(module, seen.calls[module])
    if isinstance(measured, str):
        return Skip(name, measured)
    norm = only_norm(module)
    trained = "weight" not in frozen_of(module) if norm else module.get_parameter(measured.hosting.weight).requires_grad
    frozen = () if trained else ("weight",)  # all else stays in the user's module, flags included
    facts: dict[str, Any] = {"hosting": measured.hosting, "padding": measured.padding, "causal": measured.causal}
    return replace(site, **facts, weight_norm=norm, frozen=frozen)


def _plain_site(module: nn.Module, conv: _ConvNd, name: str, aliases: tuple[str, ...], seen: Recording) -> Site:
    """The facts of the plain conv that `module` is, or equals."""
    ndim = len(conv.kernel_size)
    sizes = tuple(dict.fromkeys(shape[-ndim:] for shape in seen.inputs[module]))
    return Site(
        name=name,
        in_channels=conv.in_channels,
        out_channels=conv.out_channels,
        original=Candidate(conv.kernel_size, conv.dilation),
        stride=tuple(conv.stride),
        padding=read_padding(conv),
        groups=conv.groups,
        bias=conv.bias is not None,
        padding_mode=read_padding_mode(conv),
        input_sizes=sizes,
        calls=len(seen.inputs[module]),
        aliases=aliases,
        weight_norm=read_weight_norm(conv),
        frozen=frozen_of(conv),
    )


Owners = dict[int, list[str]]
Rule = Callable[[nn.Module, str, Recording, Owners], str | None]


def _weight_owners(names: dict[nn.Module, list[str]]) -> Owners:
    owners: Owners = defaultdict(list)
    for module, (name, *_) in names.items():
        for parameter in module.parameters():
            owners[id(parameter)].append(name)
    return owners


def _root(module: nn.Module, name: str, seen: Recording, owners: Owners) -> str | None:
    return "the model itself is one conv: wrap it in nn.Sequential" if name == "" else None


def _uncalled(module: nn.Module, name: str, seen: Recording, owners: Owners) -> str | None:
    if module in seen.inputs or seen.readers.get(module):
        return None
    return "not called as a module by a forward pass on the example"


def _transposed(module: nn.Module, name: str, seen: Recording, owners: Owners) -> str | None:
    if not isinstance(module, _ConvTransposeNd):
        return None
    return "transposed conv: its kernel sets the output size, so other kernels do not fit in its place"


def _unknown(module: nn.Module, name: str, seen: Recording, owners: Owners) -> str | None:
    if isinstance(module, PLAIN) or is_searchable(module) or adapter_of(module):
        return None
    return f"{type(module).__name__} is not one of nn.Conv1d, nn.Conv2d, nn.Conv3d; register_conv can teach it"


def _on_the_instance(module: nn.Module, name: str, seen: Recording, owners: Owners) -> str | None:
    """A forward bound to one module would go on with that module's weight."""
    return "its forward was put on the instance: make it a class" if "forward" in vars(module) else None


def _computed(module: nn.Module, name: str, seen: Recording, owners: Owners) -> str | None:
    for stack in module.parametrizations.children() if parametrize.is_parametrized(module) else ():  # type: ignore[union-attr]
        if any(isinstance(step, _SpectralNorm) for step in stack.children()):
            return f"spectral norm keeps vectors of the kernel's size; {UNDO_PARAMETRISATION} to have it searched"
    computed = [h for h in module._forward_pre_hooks.values() if type(h).__module__.startswith("torch.nn.utils")]
    other = next((hook for hook in computed if not isinstance(hook, HookWeightNorm)), None)
    if other is not None:
        return f"its weight is computed by {type(other).__name__} at each forward; remove that to have it searched"
    return None


def _pointwise(module: nn.Module, name: str, seen: Recording, owners: Owners) -> str | None:
    if isinstance(module, _ConvNd) and max(module.kernel_size) == 1:
        return "pointwise (kernel 1): no spatial support to search"
    return None


def _complex(module: nn.Module, name: str, seen: Recording, owners: Owners) -> str | None:
    if any(p.is_complex() for p in module.parameters()):
        return "complex weights"
    return None


def _tied(module: nn.Module, name: str, seen: Recording, owners: Owners) -> str | None:
    others = {other for p in module.parameters() for other in owners[id(p)] if other != name}
    return f"shares its weight with {', '.join(sorted(others))}" if others else None


def _read_elsewhere(module: nn.Module, name: str, seen: Recording, owners: Owners) -> str | None:
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
    _unknown,
    _on_the_instance,
    _computed,
    _complex,
    _tied,
    _read_elsewhere,
)
