"""Layers of a grown model that are not its author's: where they are, and what makes them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import nn

from dashfx.errors import ExportError, did_you_mean

NORMS: tuple[Any, ...] = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
OTHERS: tuple[Any, ...] = (*NORMS, nn.Linear, nn.ReLU, nn.PReLU)


def changed(before: nn.Module, after: nn.Module, name: str = "") -> Iterator[str]:
    """The outermost modules of `after` that are of another class, or have parameters of other shapes."""
    ours, theirs = dict(before.named_children()), dict(after.named_children())
    if type(before) is not type(after) or ours.keys() != theirs.keys() or _shapes(before) != _shapes(after):
        yield name
        return
    for child, module in ours.items():
        yield from changed(module, theirs[child], f"{name}.{child}" if name else child)


def _shapes(module: nn.Module) -> list[tuple[int, ...]]:
    """Of its own parameters; those of a convolution with weight normalisation are of its children's."""
    return [tuple(parameter.shape) for parameter in module.parameters(recurse=False)]


def check_convs(plain: nn.Module, names: Iterable[str]) -> None:
    """Whether all names are convs, or what a choice made of them.

    Raises:
        ExportError: one is missing, or another layer.
    """
    modules = dict(plain.named_modules(remove_duplicate=False))
    for name in names:
        conv = modules.get(name)
        if conv is None or isinstance(conv, OTHERS):
            found = f"a {type(conv).__name__}" if conv is not None else "missing" + did_you_mean(name, modules)
            raise ExportError(f"searched conv {name!r} is {found} in the lowered model; give the names of its convs")


def settings_of(module: nn.Module) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments of a norm, a linear layer or an activation; those by name where they are not torch's default."""
    facts: tuple[Any, ...] = ()
    options: list[tuple[str, Any, Any]] = []
    if isinstance(module, nn.Linear):
        facts, options = (module.in_features, module.out_features), [("bias", module.bias is not None, True)]
    elif isinstance(module, NORMS):
        facts, options = (module.num_features,), [("eps", module.eps, 1e-5), ("momentum", module.momentum, 0.1)]
        options += [("affine", module.affine, True), ("track_running_stats", module.track_running_stats, True)]
    elif isinstance(module, nn.PReLU):
        facts = () if module.num_parameters == 1 else (module.num_parameters,)
    else:
        options = [("inplace", getattr(module, "inplace", False), False)]
    types = [parameter.dtype for parameter in module.parameters()]
    options += [("dtype", types[0], torch.float32)] if types else []
    return facts, {name: value for name, value, default in options if value != default}
