"""Rounding errors of a model: how far its answer in float32 is from that in float64 on the same input."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dashfx.deploy.divergence import worst_error
from dashfx.deploy.runtime import flat_outputs
from dashfx.frontend.tracing import copy_model

ULP = 2.0**-23  # the relative distance between two neighbours in float32


class Rounding:
    """Calls give the rounding error of the model's answer, relative as `relative_error` is.

    Where the model does not run in float64, it is how far the answer moves with the last digit of the inputs.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._double: nn.Module | None = copy_model(model)._apply(_widened)

    def __call__(self, inputs: tuple[Tensor, ...], answer: dict[str, Tensor]) -> float:
        """`answer` is the model's in float32."""
        if self._double is not None:
            try:
                return worst_error(answer, _run(self._double, tuple(map(_widened, inputs))))[0]
            except Exception:  # a constant of the user's that is float32, an operator without float64
                self._double = None
        generator = torch.Generator().manual_seed(0)
        return worst_error(_run(self._model, nudged(inputs, ULP, generator)), answer)[0]


def nudged(inputs: tuple[Tensor, ...], size: float, generator: torch.Generator) -> tuple[Tensor, ...]:
    """The inputs with noise of this share of their largest value."""
    return tuple(
        x + size * x.abs().max() * torch.randn(x.shape, generator=generator) if x.is_floating_point() else x
        for x in inputs
    )


def _run(model: nn.Module, inputs: tuple[Tensor, ...]) -> dict[str, Tensor]:
    with torch.no_grad():
        return flat_outputs(model(*inputs))


def _widened(x: Tensor) -> Tensor:
    if x.is_complex():
        return x.to(torch.complex128)
    return x.double() if x.is_floating_point() else x
