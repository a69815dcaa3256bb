"""Fake quantisation: in floats, what a conv in int8 computes from input and weights; gradients go straight through.

After Jacob et al. (CVPR 2018, section 3), with the numbers of ONNX Runtime's QDQ files: weights by output channel,
symmetric, in -127..127; inputs by tensor, with a zero point, in 0..255. A batch norm behind a conv, which files hold
folded into it, scales a channel's weights and their scale alike.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
LARGEST = 127  # of a weight
STEPS = 255  # of an input
TINY = torch.finfo(torch.float32).tiny


@dataclass(frozen=True)
class Range:
    """Where a tensor's values lie; 0 is among them."""

    low: float
    high: float

    @property
    def scale(self) -> float:
        """What a step is worth; 1 where all values are 0."""
        scale = (max(self.high, 0.0) - min(self.low, 0.0)) / STEPS
        return scale if scale >= TINY else 1.0

    @property
    def zero(self) -> int:
        """The step that stands for 0."""
        return round(-min(self.low, 0.0) / self.scale)

    def joined(self, x: Tensor) -> Range:
        return Range(min(self.low, x.min().item()), max(self.high, x.max().item()))


def rounded_input(x: Tensor, found: Range) -> Tensor:
    """The values that a tensor has in 8 bits."""
    return torch.fake_quantize_per_tensor_affine(x.float(), found.scale, found.zero, 0, STEPS).to(x.dtype)


def rounded_weight(weight: Tensor) -> Tensor:
    """(out, in / groups, *kernel) -> the values that the weights have in int8."""
    scale = weight.detach().flatten(1).abs().amax(1) / LARGEST
    scale = torch.where(scale < TINY, 1.0, scale)
    zero = torch.zeros(len(scale), dtype=torch.int32, device=weight.device)
    return torch.fake_quantize_per_channel_affine(weight, scale, zero, 0, -LARGEST, LARGEST)


class _Rounded(nn.Module):
    """The parametrisation."""

    def forward(self, weight: Tensor) -> Tensor:
        return rounded_weight(weight)


@contextmanager
def in_int8(model: nn.Module, inputs: Mapping[str, Range]) -> Iterator[None]:
    """Inside, these convs and linear layers compute as in int8; their weights stay those that are trained."""
    hooks = []
    chosen = [(layer, found) for name, found in inputs.items() for layer in layers_at(model, [name])]
    try:
        for layer, found in chosen:
            parametrize.register_parametrization(layer, "weight", _Rounded())
            hooks.append(layer.register_forward_pre_hook(_rounding(found)))
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for layer, _ in chosen:
            if parametrize.is_parametrized(layer, "weight"):
                parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)


def _rounding(found: Range) -> Callable[[nn.Module, tuple[Any, ...]], tuple[Any, ...]]:
    return lambda _, given: (rounded_input(given[0], found), *given[1:])


def ranges_of(
    model: nn.Module, names: Collection[str], predict: Callable[[Tensor], Any], batches: Iterable[Tensor]
) -> dict[str, Range]:
    """The least and the largest input of each conv over some rows.

    Args:
        predict: calls `model`.
    """
    found: dict[str, Range] = {}

    def watching(name: str) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        def watch(_: nn.Module, given: tuple[Any, ...]) -> None:
            found[name] = found.get(name, Range(0.0, 0.0)).joined(given[0].detach())

        return watch

    hooks = [layer.register_forward_pre_hook(watching(n)) for n in names for layer in layers_at(model, [n])]
    try:
        with torch.no_grad():
            for x in batches:
                predict(x)
    finally:
        for hook in hooks:
            hook.remove()
    return {name: found[name] for name in names if name in found}


def layers_at(model: nn.Module, names: Collection[str]) -> list[nn.Module]:
    """Those of these names, or below them where several kernels share a conv's place; none that is parametrised."""
    return [
        module
        for path, module in model.named_modules()
        if isinstance(module, LAYERS)
        and any(path == name or path.startswith(f"{name}.") for name in names)
        and not parametrize.is_parametrized(module)
    ]
