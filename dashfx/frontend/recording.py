"""One eager run of a model goes in; what each conv saw, and who else touched its weight, comes out."""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.overrides import TorchFunctionMode

from dashfx.errors import ModelError, first_line
from dashfx.frontend.adapters import adapter_of
from dashfx.frontend.custom_forward import Call, has_custom_forward
from dashfx.site import Site
from dashfx.space import size_text

FUNCTIONAL_CONVS = {
    getattr(torch, name): name
    for name in ("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "conv_tbc")
}
# What a search changes of a conv: code that reads these would work with the old ones.
SETTINGS = ("kernel_size", "dilation", "padding")
REPLACED = ("weight", "bias", "weight_g", "weight_v", "parametrizations")  # parameters, for the same reason
Stack = list[tuple[str, nn.Module]]  # the modules that are running, outermost first


@dataclass
class Recording:
    """Facts of one eager run.

    Attributes:
        output: what the model returned.
        inputs: conv module -> input shapes in the order of its calls.
        functional: (name of the module whose forward called it, function name) of each conv that is no module.
        readers: conv module -> (what was read, name of the module whose code read it) for its parameters and for
            SETTINGS, outside the conv's own forward.
        calls: conv module of a class of the user's -> the arguments of its first call.
    """

    output: Any = None
    inputs: dict[nn.Module, list[tuple[int, ...]]] = field(default_factory=lambda: defaultdict(list))
    functional: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    readers: dict[nn.Module, set[tuple[str, str]]] = field(default_factory=lambda: defaultdict(set))
    calls: dict[nn.Module, Call] = field(default_factory=dict)


def is_conv(module: nn.Module) -> bool:
    """Any torch.nn conv, one with an adapter, or one that an earlier rewrite has already made searchable."""
    return isinstance(module, _ConvNd) or is_searchable(module) or adapter_of(module) is not None


def is_searchable(module: nn.Module) -> bool:
    """Whether an earlier rewrite has put the module there."""
    return isinstance(getattr(module, "site", None), Site)


def users_modules(model: nn.Module, name: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Every (name, module) of the user's, repeats included: what stands inside a searchable conv is left out."""
    yield name, model
    if not is_searchable(model):
        for child, module in model._modules.items():
            if module is not None:
                yield from users_modules(module, f"{name}.{child}" if name else child)


class _ConvWatcher(TorchFunctionMode):
    """Sees functional convs and reads of a conv's parameters wherever they happen, traced or not."""

    def __init__(self, seen: Recording, stack: Stack, model: nn.Module) -> None:
        super().__init__()
        self._seen = seen
        self._stack = stack
        self._owner: Mapping[int, tuple[nn.Module, str]] = {
            id(parameter): (module, name.rpartition(".")[2])
            for _, module in users_modules(model)
            if is_conv(module)
            for name, parameter in module.named_parameters()
            if name.partition(".")[0] in REPLACED or adapter_of(module)  # other parameters stay where they are
        }

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        running = [module for _, module in self._stack if is_conv(module)]
        where = self._stack[-1][0] if self._stack else ""
        if func in FUNCTIONAL_CONVS and not running:
            self._seen.functional[where, FUNCTIONAL_CONVS[func]] += 1
        for tensor in tensors_in((args, kwargs)):
            owner, what = self._owner.get(id(tensor), (None, ""))
            if owner is not None and owner not in running:
                self._seen.readers[owner].add((what, where))
        return func(*args, **kwargs)


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Every tensor in nested sequences and mappings."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        yield from tensors_in(tuple(value.values()))
    elif isinstance(value, list | tuple | set | frozenset):
        for part in value:
            yield from tensors_in(part)


@contextmanager
def _settings_watched(model: nn.Module, seen: Recording, stack: Stack) -> Iterator[None]:
    """Inside, each conv is of a subclass of its own class that notes who reads its SETTINGS.

    A forward that is called by its name, past the hooks, is a call like others there.
    """

    def watched(setting: str) -> property:
        def read(conv: nn.Module) -> Any:
            if stack and all(module is not conv for _, module in stack):
                seen.readers[conv].add((setting, stack[-1][0]))
            return vars(conv)[setting]

        return property(read, lambda conv, value: vars(conv).update({setting: value}))

    def called(kind: type[nn.Module]) -> Callable[..., Any]:
        def forward(conv: nn.Module, *args: Any, **options: Any) -> Any:
            inside = stack and stack[-1][1] is conv
            return kind.forward(conv, *args, **options) if inside else conv(*args, **options)

        return forward

    settings = {setting: watched(setting) for setting in SETTINGS}
    convs = (module for _, module in users_modules(model) if isinstance(module, _ConvNd))
    own = {module: type(module) for module in convs if not isinstance(module, torch.jit.ScriptModule)}
    watching = {
        module: type(kind.__name__, (kind,), {**settings, "forward": called(kind)}) for module, kind in own.items()
    }
    for module, kind in watching.items():
        module.__class__ = kind
    try:
        yield
    finally:
        for module, kind in watching.items():
            if type(module) is kind:  # a lazy conv has become another class meanwhile
                module.__class__ = own[module]


def record(model: nn.Module, example: tuple[Any, ...]) -> Recording:
    """Run `model` once on `example` under hooks; the caller chooses mode and gradients.

    Raises:
        ModelError: the forward pass fails on the example, or returns no tensor.
    """
    seen = Recording()
    stack: Stack = []
    failed: list[str] = []  # modules that an exception has gone through, innermost first
    try:
        with (
            _calls_watched(model, seen, stack, failed),
            _settings_watched(model, seen, stack),
            _ConvWatcher(seen, stack, model),
        ):
            seen.output = model(*example)
    except Exception as error:
        raise ModelError(_what_failed(model, example, failed, error)) from error
    if next(tensors_in(seen.output), None) is None:
        given = type(seen.output).__name__
        raise ModelError(
            f"{type(model).__name__}.forward returns {given} without a tensor: return a tensor, or a tuple, list or "
            "dict of tensors"
        )
    return seen


@contextmanager
def _calls_watched(model: nn.Module, seen: Recording, stack: Stack, failed: list[str]) -> Iterator[None]:
    """Inside, `stack` holds the modules that are running, and what each conv is given is noted."""
    hosted = {module for module in model.modules() if has_custom_forward(module) or adapter_of(module)}

    def watch(name: str, module: nn.Module) -> None:
        def enter(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            stack.append((name, module))
            failed.clear()
            given = [a for a in (*args, *kwargs.values()) if isinstance(a, Tensor)]
            if is_conv(module) and given:
                seen.inputs[module].append(tuple(given[0].shape))
                if module in hosted:
                    seen.calls.setdefault(module, (args, kwargs))

        def leave(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            stack.pop()
            if output is None:  # it has failed, or it really returns None
                failed.append(f"in {type(module).__name__} {name!r} " if name else "")
            else:
                failed.clear()

        # First in and last out: weight-norm computes `weight` in a pre-hook of the conv's own.
        hooks.enter_context(module.register_forward_pre_hook(enter, prepend=True, with_kwargs=True))
        hooks.enter_context(module.register_forward_hook(leave, always_call=True))

    with ExitStack() as hooks:
        for name, module in model.named_modules():
            if not isinstance(module, torch.jit.ScriptModule):
                watch(name, module)
        yield


def _what_failed(model: nn.Module, example: tuple[Any, ...], failed: list[str], error: Exception) -> str:
    shapes = ", ".join(shape_text(a) for a in example)
    missing = missing_arguments(model, len(example))
    if missing:
        return (
            f"{type(model).__name__}.forward needs {missing} beside the example of shape {shapes}: give a tuple of "
            "all arguments or a dict by name, or a model whose forward takes one tensor"
        )
    where = failed[0] if failed else ""
    return (
        f"the model's forward fails {where}on an example of shape {shapes}: {first_line(error)}; "
        "check --input and --model-args (the example is one batch: batch x channels x size)"
    )


def shape_text(value: Any) -> str:
    """2x3x32x32 for a tensor, also in a list or dict; Python's own text for what is none."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(shape_text, value))}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {shape_text(part)}' for key, part in value.items())}}}"
    return size_text(value.shape) if isinstance(value, Tensor) else first_line_of(value)


def first_line_of(value: Any) -> str:
    text = repr(value).partition("\n")[0]
    return text if len(text) <= 60 else text[:57] + "..."


def missing_arguments(model: nn.Module, given: int) -> str:
    """The names of arguments without default that an example of `given` positional ones leaves out."""
    parameters = list(inspect.signature(model.forward).parameters.values())
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return ", ".join(repr(p.name) for p in parameters[given:] if p.default is p.empty and p.kind not in kinds)


def forward(module: nn.Module, inputs: Tensor) -> Tensor:
    """The first tensor that the module answers with.

    Raises:
        ModelError: its forward fails on these inputs, or answers without a tensor.
    """
    try:
        answer = module(inputs)
    except Exception as error:  # the user's forward may raise anything
        raise ModelError(
            f"the model's forward fails on a batch of shape {size_text(inputs.shape)}: {first_line(error)}"
        ) from error
    found = next(tensors_in(answer), None)
    if found is None:
        raise ModelError(f"{type(module).__name__} answers with {type(answer).__name__}, which holds no tensor")
    return found
