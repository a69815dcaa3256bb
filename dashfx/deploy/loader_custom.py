"""A lowered conv of a class of the user's goes in; the settings that make a fresh one equal to it come out."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from dashfx.frontend.adapters import adapter_of
from dashfx.frontend.copies.members import members_of
from dashfx.frontend.custom_forward import has_custom_forward

KEPT = ("training",)  # what a fresh model decides for itself

# Part of the generated file. Settings are by path below the conv, and so are shapes.
RESIZE = '''def resize(model):
    """The author's modules with the chosen settings and room for their weights."""
    for name, (settings, shapes) in OWN_CONVS.items():
        conv = model.get_submodule(name)
        for path, values in settings.items():
            vars(conv.get_submodule(path)).update(values)
        for path, shape in shapes.items():
            part, _, key = path.rpartition(".")
            held = conv.get_submodule(part)
            fresh = held.state_dict()[key].new_empty(shape)
            setattr(held, key, nn.Parameter(fresh) if key in held._parameters else fresh)
    return model
'''

Settings = tuple[dict[str, dict[str, Any]], dict[str, tuple[int, ...]]]


def is_own(conv: nn.Module) -> bool:
    """Whether a lowered conv is more than a torch.nn conv with settings."""
    members = isinstance(conv, _ConvNd) and bool(members_of(conv))
    return members or has_custom_forward(conv) or adapter_of(conv) is not None


def own_settings(conv: nn.Module) -> Settings:
    """Every setting that can be written down, and every tensor's shape, by path below the conv."""
    settings = {}
    for path, module in conv.named_modules():
        found = {key: _plain(value) for key, value in vars(module).items() if key not in KEPT}
        settings[path] = {key: value for key, value in found.items() if _is_literal(value)}
    shapes = {path: tuple(tensor.shape) for path, tensor in conv.state_dict().items()}
    return {path: values for path, values in settings.items() if values}, shapes


def narrower_settings(plain: nn.Module, reference: nn.Module, names: Sequence[str]) -> dict[str, Settings]:
    """The modules of a narrower model whose tensors have other shapes than the untouched model's.

    Args:
        reference: the untouched model.
        names: modules that stand in the file in another way, with all that is inside.
    """
    before, found = dict(reference.named_modules()), dict[str, Settings]()
    inside = tuple(f"{name}." for name in names)
    for name, module in plain.named_modules():
        was = before.get(name)
        if was is None or name in names or name.startswith(inside):
            continue
        shapes = {key: tuple(t.shape) for key, t in _tensors(module).items()}
        given = {key: tuple(t.shape) for key, t in _tensors(was).items()}
        if shapes != given:
            told = {key: _plain(value) for key, value in vars(module).items() if key not in KEPT}
            other = {k: v for k, v in told.items() if _is_literal(v) and vars(was).get(k) != v}
            found[name] = {"": other} if other else {}, {k: v for k, v in shapes.items() if given.get(k) != v}
    return found


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and saved buffers of a module alone."""
    own = {**module._parameters, **module._buffers}
    return {key: t for key, t in own.items() if t is not None and key not in module._non_persistent_buffers_set}


def _plain(value: Any) -> Any:
    return tuple(value) if type(value) is not tuple and isinstance(value, tuple) else value


def _is_literal(value: Any) -> bool:
    """Numbers, strings and nestings of them; empty dictionaries are torch's own hooks."""
    if value is None or isinstance(value, dict | set):
        return False
    try:
        return bool(ast.literal_eval(repr(value)) == value)
    except (ValueError, SyntaxError):
        return False
