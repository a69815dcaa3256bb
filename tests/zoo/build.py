"""An entry goes in; its model with weights from a seed, and the smallest inputs that it takes, come out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from zoo.entry import Entry, Inputs

from dashfx.errors import first_line

SPREAD = 0.25  # of what is drawn around a constant start


class NotForTheZoo(Exception):
    """The model cannot be built here, or there is nothing to hold it to; the message says why."""


def build(entry: Entry) -> tuple[nn.Module, Inputs]:
    """The model in float32 and eval mode, and inputs that it takes in training and in eval.

    Raises:
        NotForTheZoo: no model, no such inputs, or answers that nothing can be compared with.
    """
    torch.manual_seed(0)
    try:
        model = entry.build().float()
    except Exception as error:  # the package may want weights, a network, or another package
        raise NotForTheZoo(f"cannot be built: {_what(error)}") from error
    inputs = _taken(model, entry)
    shake(model)
    first, second = answers(model, inputs), answers(model, inputs, seed=1)
    if not first:
        raise NotForTheZoo("returns no tensor of numbers")
    if not all(t.isfinite().all() for t in first):
        raise NotForTheZoo("its answers are not finite with weights from a seed")
    if any(a.shape != b.shape or not torch.equal(a, b) for a, b in zip(first, second, strict=True)):
        raise NotForTheZoo("its answers are random in eval: nothing to compare with")
    return model, inputs


def survey(entry: Entry) -> dict[str, Any]:
    """Facts for the order of a run, from a build without memory for weights where the model allows it."""
    try:
        with torch.device("meta"):
            model = entry.build()
    except Exception:  # some compute with their weights while they are built
        try:
            model = entry.build()
        except Exception as error:
            return {"skipped": f"cannot be built: {_what(error)}"}
    convs = [m for m in model.modules() if is_spatial(m)]
    kinds = sorted({type(m).__name__ for m in model.modules()} | {_shape_of(m) for m in convs})
    overlapping = any(k > s for m in convs for k, s in zip(m.kernel_size, m.stride, strict=True))
    facts: dict[str, Any] = {"params": params_of(model), "kinds": " ".join(kinds)}
    return facts if overlapping else {**facts, "skipped": "not convolutional: no spatial conv, or patches only"}


def params_of(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters() if not isinstance(p, nn.UninitializedParameter))


def is_spatial(module: nn.Module) -> bool:
    return isinstance(module, _ConvNd) and not isinstance(module, _ConvTransposeNd) and max(module.kernel_size) > 1


def _shape_of(conv: nn.Module) -> str:
    assert isinstance(conv, _ConvNd)
    return f"{conv.kernel_size}/{conv.stride}/{conv.dilation}/{conv.groups > 1}"


def _what(error: BaseException) -> str:
    return f"{type(error).__name__}: {first_line(error, 120)}"


def _taken(model: nn.Module, entry: Entry) -> Inputs:
    why = "no input fits"
    for inputs in entry.inputs(model):
        try:
            with torch.no_grad():
                model.train()(*inputs)
                model.eval()(*inputs)
        except Exception as error:
            why = _what(error)
            continue
        return inputs
    raise NotForTheZoo(f"takes none of the inputs offered: {why}")


@torch.no_grad()
def shake(model: nn.Module) -> None:
    """Draw what starts as a constant around it, as training would: a scale of zero hides every conv behind it."""
    generator = torch.Generator().manual_seed(0)

    def around(tensor: Tensor) -> Tensor:
        return (torch.rand(tensor.shape, generator=generator) * 2 - 1) * SPREAD

    for parameter in model.parameters():
        if parameter.is_floating_point() and parameter.numel() and bool((parameter == parameter.flatten()[0]).all()):
            parameter.add_(around(parameter))
    for module in model.modules():
        mean, variance = getattr(module, "running_mean", None), getattr(module, "running_var", None)
        if isinstance(mean, Tensor) and isinstance(variance, Tensor):
            mean.add_(around(mean))
            variance.mul_(1 + around(variance))


@torch.no_grad()
def answers(model: nn.Module, inputs: Inputs, seed: int = 0) -> list[Tensor]:
    """The floating-point tensors that the model returns in its present mode."""
    torch.manual_seed(seed)
    return numbers(model(*inputs))


def numbers(output: Any) -> list[Tensor]:
    """The floating-point tensors in a nested output."""
    return [tensor for tensor in _tensors(output) if tensor.is_floating_point()]


def _tensors(output: Any) -> Iterator[Tensor]:
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, Mapping):
        yield from _tensors(list(output.values()))
    elif isinstance(output, list | tuple):
        for part in output:
            yield from _tensors(part)
