"""Spectrum of the weights' Hessian: a few eigenvalues of large modulus beside a bulk near 0, by Lanczos steps.

Sagun, Evci, Guney, Dauphin and Bottou, "Empirical Analysis of the Hessian of Over-Parametrized Neural Networks", 2017.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from dashfx.plugins import Count
from dashfx.strategies.monitors.base import Action, Context, Monitor

if TYPE_CHECKING:
    from dashfx.strategies.engine import Engine

logger = logging.getLogger(__name__)
SMALL = 1e-10  # of a residual's norm over the largest so far: nothing is left to find


@dataclass
class Spectrum(Monitor):
    """Logs the `top` eigenvalues of d2L/dw2 on a fixed held-out batch every `every` epochs, and nothing else.

    From `steps` Lanczos steps with full reorthogonalisation and exact second derivatives, batch norm by its
    statistics. The middle of the Ritz values stands for the bulk.

    Attributes:
        values: epoch -> the eigenvalues, largest first, with the median last.
    """

    top: Count = 3
    steps: Count = 20
    every: Count = 1
    values: dict[str, list[float]] = field(default_factory=dict, init=False)
    uses_held_out: ClassVar[bool] = True
    paper: ClassVar[str] = "Sagun et al., Empirical Analysis of the Hessian of Over-Parametrized Neural Networks, 2017"
    row: ClassVar[str] = "99"

    def begin(self, engine: Engine) -> None:
        engine.need_second_order("search.monitors=spectrum")

    def on_epoch(self, ctx: Context) -> Sequence[Action]:
        assert ctx.engine is not None
        if ctx.epoch % self.every:
            return []
        found = spectrum_of(ctx.engine, self.steps)
        self.values[str(ctx.epoch)] = [*found[: self.top].tolist(), float(found.median())]
        *largest, bulk = self.values[str(ctx.epoch)]
        text = ", ".join(f"{each:.4g}" for each in largest)
        logger.info("epoch %d: largest curvatures of the weights %s; median %.3g", ctx.epoch + 1, text, bulk)
        return []

    def state_dict(self) -> dict[str, Any]:
        return {"values": self.values}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.values = {epoch: list(row) for epoch, row in state["values"].items()}


def spectrum_of(engine: Engine, steps: int) -> Tensor:
    """(at most steps,) Ritz values of d2L/dw2 on the held-out batch, largest first, in float64."""
    batch, learning = engine.held_batch(), engine.learning
    sizes, shapes = [w.numel() for w in learning], [w.shape for w in learning]

    def product(v: Tensor) -> Tensor:
        parts = [each.reshape(shape).to(w) for each, shape, w in zip(v.split(sizes), shapes, learning, strict=True)]
        found = engine.mixed_product(batch, parts, learning, part="weights")
        return torch.cat([each.detach().flatten() for each in found]).double().cpu()

    with engine.second_order(), engine.evaluating():
        return lanczos(product, sum(sizes), steps)


def lanczos(product: Callable[[Tensor], Tensor], size: int, steps: int, seed: int = 0) -> Tensor:
    """(at most steps,) eigenvalues of the tridiagonal matrix of a symmetric one of `size` rows, largest first.

    Args:
        product: the matrix times a vector (size,).
        seed: of the first vector.
    """
    start = torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    basis, diagonal, beside = [start / start.norm()], list[Tensor](), list[Tensor]()
    for step in range(min(steps, size)):
        v = product(basis[-1])
        diagonal.append(v @ basis[-1])
        rows = torch.stack(basis)
        for _ in range(2):  # once leaves rounding
            v = v - rows.T @ (rows @ v)
        norm = v.norm()
        largest = max([float(each.abs()) for each in diagonal] + [float(each) for each in beside])
        if step + 1 == min(steps, size) or float(norm) <= SMALL * max(largest, 1e-300):
            break
        beside.append(norm)
        basis.append(v / norm)
    matrix = torch.diag(torch.stack(diagonal))
    if beside:
        matrix = matrix + torch.diag(torch.stack(beside), 1) + torch.diag(torch.stack(beside), -1)
    return torch.linalg.eigvalsh(matrix).flip(0)
