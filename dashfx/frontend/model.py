"""`file.py:Class`, a factory, a class or an instance goes in; a recipe that builds the user's model comes out."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dashfx.errors import DashfxError, ModelError, did_you_mean, first_line
from dashfx.frontend.tracing import copy_model
from dashfx.usercode import is_code, load_object, place_of


@dataclass(frozen=True)
class ModelSource:
    """How to build the user's model again, the same way each time.

    Attributes:
        build: makes a model as its class makes it, without a checkpoint.
        spec: `file.py:Class` or `package.module:Class`, with an absolute path; None for an instance given from Python.
        args: keyword arguments of the class.
        made: the class or factory; None where there is only an instance.
    """

    build: Callable[[], nn.Module]
    spec: str | None = None
    args: Mapping[str, Any] = field(default_factory=dict)
    made: Callable[..., Any] | None = None

    def with_arguments(self, args: Mapping[str, Any]) -> ModelSource:
        """The same class with other arguments, those given over its own.

        Raises:
            ModelError: an instance takes none; or the class does not know one, when it is built.
        """
        if self.made is None:
            raise ModelError(f"model arguments {sorted(args)} need a class or a factory, not an instance")
        return self.with_only({**self.args, **args})

    def with_only(self, args: Mapping[str, Any]) -> ModelSource:
        """The same class with these arguments and no others; an instance stays as it is."""
        if self.made is None:
            return self
        made, exact = self.made, dict(args)
        name = self.spec or str(getattr(made, "__name__", "the model"))
        return ModelSource(lambda: _call(made, exact, name), self.spec, exact, made)

    @property
    def file(self) -> Path | None:
        """The user's file, where the model comes from one."""
        place = self.spec.rpartition(":")[0] if self.spec else ""
        return Path(place) if place.endswith(".py") else None


def load_model(model: str | nn.Module | Callable[..., nn.Module], args: Mapping[str, Any] | None = None) -> ModelSource:
    """The source of `model`; naming a file runs it, for a model is code.

    Raises:
        ModelError: no such file or name, a class that needs other arguments, or one that gives no nn.Module.
    """
    args = dict(args or {})
    if isinstance(model, nn.Module):
        if args:
            raise ModelError(f"model arguments {sorted(args)} need a class or a factory, not an instance")
        pristine = copy_model(model)
        return ModelSource(lambda: copy_model(pristine))
    if isinstance(model, str):
        return _from_spec(model, args)
    if callable(model):
        return ModelSource(lambda: _call(model, args, getattr(model, "__name__", "the model")), None, args, model)
    raise ModelError(f"expected an nn.Module, a class, a factory or 'file.py:Class', got {type(model).__name__}")


def _from_spec(spec: str, args: dict[str, Any]) -> ModelSource:
    if not is_code(spec):
        raise ModelError(f"model {spec!r}: write file.py:Class, file.py:factory or package.module:Class")
    made = load_object(spec, ModelError)
    place, _, name = spec.rpartition(":")
    absolute = f"{Path(place).expanduser().resolve()}:{name}" if place.endswith(".py") else spec
    if isinstance(made, nn.Module):
        pristine = copy_model(made)
        return ModelSource(lambda: copy_model(pristine), absolute)
    if not callable(made):
        raise ModelError(f"{spec} is a {type(made).__name__}; name a class, a function or an nn.Module")
    return ModelSource(lambda: _call(made, args, spec), absolute, args, made)


def build(source: ModelSource, seed: int) -> nn.Module:
    """A new model with weights drawn by `seed`; the global random state comes back afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return source.build()


def _call(made: Callable[..., Any], args: dict[str, Any], name: str) -> nn.Module:
    _check_arguments(made, args, name)
    try:
        model = made(**args)
    except DashfxError:
        raise
    except Exception as error:  # the user's code
        given = " ".join(f"{key}={value!r}" for key, value in args.items())
        words = f"{type(error).__name__}: {first_line(error)}" if str(error).strip() else type(error).__name__
        hint = f"; check --model-args {given}" if args else ""
        raise ModelError(f"{name} raises{place_of(error)} when it is built: {words}{hint}") from error
    except SystemExit as error:
        raise ModelError(f"{name} ends the program{place_of(error)} when it is built") from error
    if not isinstance(model, nn.Module):
        raise ModelError(f"{name} gives a {type(model).__name__}, not an nn.Module")
    return model


def _check_arguments(made: Callable[..., Any], args: dict[str, Any], name: str) -> None:
    try:
        parameters = inspect.signature(made).parameters
    except (TypeError, ValueError):  # builtins and C functions tell nothing
        return
    named = {p.name for p in parameters.values() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    needed = [p.name for p in parameters.values() if p.name in named and p.default is p.empty and p.name not in args]
    unknown = [] if open_ended else [arg for arg in args if arg not in named]
    if unknown:
        raise ModelError(f"{name} takes no argument {unknown[0]!r}{did_you_mean(unknown[0], named)}")
    if needed:
        example = " ".join(f"{arg}=..." for arg in needed)
        raise ModelError(f"{name} needs {', '.join(map(repr, needed))}: give --model-args {example}")
