"""A model and an ONNX file whose answers differ go in; the first layer that differs comes out, in words."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from dashfx.deploy.runtime import OnnxModel


@dataclass(frozen=True, eq=False)
class Call:
    """One call of a layer: what went in and came out, as objects for identity, and the values at that moment."""

    name: str
    kind: str
    inputs: tuple[Tensor, ...]
    output: Tensor
    value: Tensor  # a copy, since the next layer may work in place

    def __str__(self) -> str:
        return f"{self.name!r} ({self.kind})"


def relative_error(actual: Tensor, expected: Tensor) -> float:
    """max |actual - expected| / max |expected|; infinite where shapes differ or a value is not finite."""
    if actual.shape != expected.shape:
        return float("inf")
    if not expected.numel():
        return 0.0
    expected, actual = expected.double(), actual.double()
    scale = expected.abs().max().clamp(min=1e-12)
    error = ((actual - expected).abs().max() / scale).item()
    return error if error == error else float("inf")  # NaN is not equal to itself


def worst_error(actual: dict[str, Tensor], expected: dict[str, Tensor]) -> tuple[float, str]:
    """The largest relative error and its output; matched by position, since other exporters name outputs anew."""
    if len(actual) != len(expected):
        return float("inf"), f"({len(actual)} outputs instead of {len(expected)})"
    pairs: Any = zip(actual.values(), expected.items(), strict=True)
    return max((relative_error(a, e), name) for a, (name, e) in pairs)


def first_divergence(model: nn.Module, path: Path, inputs: tuple[Tensor, ...], tolerance: float) -> str:
    """Where `model` and the file part first on `inputs`, such as "first at 'b' (Conv2d), after 'a' (ReLU)".

    The file runs without fusions and with every node's output exposed. A layer agrees where some exposed tensor has its
    values; so it needs no names, which exporters keep differently. A layer that was fused into the next one (conv into
    batch norm) has no tensor of its own and is excused where the next one agrees.
    """
    try:
        exposed = _exposed(path, inputs)
    except Exception as error:  # a second opinion on a model that already failed must not hide the first
        return f"the layers cannot be compared one by one ({type(error).__name__})"
    calls = _calls(model, inputs)
    agree = [any(relative_error(t, call.value) <= tolerance for t in exposed) for call in calls]
    for i, call in enumerate(calls):
        fused = any(agree[j] and _feeds(call, calls[j]) for j in range(i + 1, len(calls)))
        if agree[i] or fused:
            continue
        before = next((calls[j] for j in range(i - 1, -1, -1) if agree[j]), None)
        folded = next((c for c in calls[i + 1 :] if "BatchNorm" in c.kind and _feeds(call, c)), None)
        where = f"first at {call}" + (f" or {folded}, which exporters fold into one," if folded else ",")
        return f"{where} after {before}, which agrees" if before else f"{where} the first layer"
    return "every layer agrees when read out alone; look at the code after the last one, or at ONNX Runtime's fusions"


def _feeds(call: Call, later: Call) -> bool:
    return any(x is call.output for x in later.inputs)


def _exposed(path: Path, inputs: tuple[Tensor, ...]) -> list[Tensor]:
    proto = onnx.load(str(path))
    known = {output.name for output in proto.graph.output}
    names = [name for node in proto.graph.node for name in node.output if name and name not in known]
    proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)  # ONNX Runtime infers the types
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "exposed.onnx")
        onnx.save(proto, str(copy))
        return list(OnnxModel(copy, optimise=False).run(*inputs).values())


def _calls(model: nn.Module, inputs: tuple[Tensor, ...]) -> list[Call]:
    calls: list[Call] = []
    with _recording(model, calls), torch.no_grad():
        model(*inputs)
    return calls


@contextmanager
def _recording(model: nn.Module, calls: list[Call]) -> Iterator[None]:
    """Notes every call of a module without children, in the order of execution."""

    def note(name: str, module: nn.Module, args: tuple[object, ...], output: object) -> None:
        if isinstance(output, Tensor):
            tensors = tuple(a for a in args if isinstance(a, Tensor))
            calls.append(Call(name, type(module).__name__, tensors, output, output.detach().clone()))

    def hook(name: str) -> object:
        return lambda module, args, output: note(name, module, args, output)

    # A parametrised layer has children (the parametrisation) and is one layer all the same.
    layers = [(n, m) for n, m in model.named_modules() if n and _is_layer(m) and ".parametrizations" not in n]
    with ExitStack() as hooks:
        for name, module in layers:
            hooks.enter_context(module.register_forward_hook(hook(name)))
        yield


def _is_layer(module: nn.Module) -> bool:
    return all(name == "parametrizations" for name, _ in module.named_children())
