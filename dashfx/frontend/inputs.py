"""An example goes in, by position or by name; the positional arguments of one forward pass come out."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from dashfx.errors import ModelError


def as_arguments(example_input: Any, model: nn.Module) -> tuple[Any, ...]:
    """The positional arguments of one forward pass, on the model's device.

    Args:
        example_input: a tensor, a tuple or list of positional arguments, or a dict of arguments by name.

    Raises:
        ModelError: names that forward does not take, or takes by keyword only.
    """
    if isinstance(example_input, Mapping):
        arguments = _by_name(dict(example_input), model)
    else:
        arguments = tuple(example_input) if isinstance(example_input, tuple | list) else (example_input,)
    parameter = next(model.parameters(), None)
    if parameter is None or isinstance(parameter, nn.UninitializedParameter):
        return arguments
    moved: tuple[Any, ...] = mapped(arguments, lambda tensor: tensor.to(parameter.device))
    return moved


def mapped(value: Any, change: Callable[[Tensor], Any]) -> Any:
    """The same nesting of tuples, lists and dicts with `change` applied to every tensor."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, dict):
        return {key: mapped(item, change) for key, item in value.items()}
    if type(value) in (tuple, list):
        return type(value)(mapped(item, change) for item in value)
    return value


def _by_name(given: dict[str, Any], model: nn.Module) -> tuple[Any, ...]:
    parameters = inspect.signature(model.forward).parameters
    takes = ", ".join(parameters) or "nothing"
    unknown = [name for name in given if name not in parameters]
    if unknown:
        raise ModelError(
            f"the example gives {unknown[0]!r} by name, and {type(model).__name__}.forward takes {takes}; "
            "give its arguments by their names, or a dict that is one argument as ({...},)"
        )
    last = max((i for i, name in enumerate(parameters) if name in given), default=-1)
    arguments = []
    for parameter in list(parameters.values())[: last + 1]:
        value = given.get(parameter.name, parameter.default)
        if value is parameter.empty:
            raise ModelError(f"the example lacks {parameter.name!r}: {type(model).__name__}.forward takes {takes}")
        if parameter.kind is not parameter.POSITIONAL_OR_KEYWORD:
            raise ModelError(
                f"{type(model).__name__}.forward takes {parameter.name!r} by keyword only: wrap the model in one whose "
                "forward takes it by position"
            )
        arguments.append(value)
    return tuple(arguments)


class FlatInputs(nn.Module):
    """A model that takes only the tensors of nested arguments; all that is no tensor stays as in the example.

    Attributes:
        names: of the tensors, in the order of `tensors`: of forward's parameters, or the keys of a dict.
    """

    def __init__(self, model: nn.Module, example: tuple[Any, ...]) -> None:
        super().__init__()
        self.model = model
        self._example = example
        parameters = list(inspect.signature(model.forward).parameters)
        outer = [parameters[i] if i < len(parameters) else f"input_{i}" for i in range(len(example))]
        found = [pair for name, value in zip(outer, example, strict=True) for pair in _named(name, value)]
        self.names = [name for name, _ in found]
        self.tensors = tuple(tensor for _, tensor in found)

    def forward(self, *tensors: Tensor) -> Any:
        left = iter(tensors)
        return self.model(*mapped(self._example, lambda _: next(left)))


def _named(name: str, value: Any) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _named(str(key), item)
    elif type(value) in (tuple, list):
        for i, item in enumerate(value):
            yield from _named(f"{name}_{i}", item)
