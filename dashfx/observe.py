"""One eager run of a model goes in; what each conv saw, and who else touched its weight, comes out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.overrides import TorchFunctionMode

from dashfx.errors import ModelError
from dashfx.site import Site

FUNCTIONAL_CONVS = {
    getattr(torch, name): name
    for name in ("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "conv_tbc")
}


@dataclass
class Observation:
    """Facts of one eager run.

    Attributes:
        output: what the model returned.
        inputs: conv module -> input shapes in the order of its calls.
        functional: (name of the module whose forward called it, function name) of each conv that is no module.
        readers: conv module -> names of modules whose code read its weight outside the conv's own forward.
    """

    output: Any = None
    inputs: dict[nn.Module, list[tuple[int, ...]]] = field(default_factory=lambda: defaultdict(list))
    functional: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    readers: dict[nn.Module, set[str]] = field(default_factory=lambda: defaultdict(set))


def is_conv(module: nn.Module) -> bool:
    """Any torch.nn conv, or one that an earlier rewrite has already made searchable."""
    return isinstance(module, _ConvNd) or isinstance(getattr(module, "site", None), Site)


class _ConvWatcher(TorchFunctionMode):
    """Sees functional convs and reads of a conv's weight wherever they happen, traced or not."""

    def __init__(self, observation: Observation, stack: list[tuple[str, nn.Module]], model: nn.Module) -> None:
        super().__init__()
        self._seen = observation
        self._stack = stack
        self._owner: Mapping[int, nn.Module] = {
            id(p): module for module in model.modules() if is_conv(module) for p in module.parameters()
        }

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = self._stack[-1][0] if self._stack else ""
        running = [module for _, module in self._stack if is_conv(module)]
        if func in FUNCTIONAL_CONVS and not running:
            self._seen.functional[name, FUNCTIONAL_CONVS[func]] += 1
        for value in args:
            owner = self._owner.get(id(value))
            if owner is not None and owner not in running:
                self._seen.readers[owner].add(name)
        return func(*args, **(kwargs or {}))


def observe(model: nn.Module, example: tuple[Any, ...]) -> Observation:
    """Run `model` once on `example` under hooks; the caller chooses mode and gradients.

    Raises:
        ModelError: the forward pass fails on the example.
    """
    seen = Observation()
    stack: list[tuple[str, nn.Module]] = []
    handles = []

    def watch(name: str, module: nn.Module) -> None:
        def enter(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            stack.append((name, module))
            given = [a for a in (*args, *kwargs.values()) if isinstance(a, Tensor)]
            if is_conv(module) and given:
                seen.inputs[module].append(tuple(given[0].shape))

        def leave(*_: Any) -> None:
            stack.pop()

        # First in and last out: weight-norm computes `weight` in a pre-hook of the conv's own.
        handles.append(module.register_forward_pre_hook(enter, prepend=True, with_kwargs=True))
        handles.append(module.register_forward_hook(leave, always_call=True))

    for name, module in model.named_modules():
        if not isinstance(module, torch.jit.ScriptModule):
            watch(name, module)
    try:
        with _ConvWatcher(seen, stack, model):
            seen.output = model(*example)
    except Exception as error:
        shapes = ", ".join("x".join(map(str, a.shape)) if isinstance(a, Tensor) else repr(a) for a in example)
        where = next((f"in {type(m).__name__} {n!r} " for n, m in reversed(stack)), "")
        line = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(
            f"the model's forward fails {where}on an example of shape {shapes}: {line}; "
            "check --input and --model-args (the example is one batch: batch x channels x size)"
        ) from error
    finally:
        for handle in handles:
            handle.remove()
    return seen
