"""Adversarial term: the loss of inputs that were moved, within a bound, to where it is larger.

FGSM: Goodfellow, Shlens and Szegedy, ICLR 2015. PGD: Madry et al., ICLR 2018. As an aim of a search: "Robust NAS under
adversarial training: benchmark, theory, and beyond", ICLR 2024.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from dashfx.errors import ConfigError
from dashfx.plugins import Share
from dashfx.strategies.terms.base import Moment, Term

PGD_STEPS = 7


@dataclass
class Adversarial(Term):
    """weight * (L(x') - L(x)): with the loss itself, (1 - weight) L(x) + weight L(x').

    x' is within `eps` of x in every number. `fgsm` goes there in one step along the gradient's sign; `pgd` in seven of
    a quarter of it, from a random start, back within the bound after each. Gradients for it are taken in eval mode.

    Args:
        weight: the share of the moved inputs' loss.
        eps: in the unit in which the model sees its inputs, so after normalisation.

    Raises:
        ConfigError: when a step is taken, inputs that are no numbers to be moved.
    """

    weight: Share = 0.5
    eps: Annotated[float, Field(ge=0)] = 0.1
    attack: Literal["fgsm", "pgd"] = "fgsm"
    paper: ClassVar[str] = "Robust NAS under adversarial training: benchmark, theory, and beyond, ICLR 2024"
    row: ClassVar[str] = "108"

    def __call__(self, now: Moment) -> Tensor:
        engine, (x, y) = now.engine, now.batch
        if not x.is_floating_point():
            raise ConfigError("term adversarial moves inputs by a gradient, and these are whole numbers; leave it out")
        clean = engine.task.loss(now.output.float(), y)
        if not self.eps:
            return clean - clean
        coef = {name: row.detach() for name, row in now.coef.items()}
        with engine.evaluating():
            moved = attacked(
                lambda inputs: engine.task.loss(engine.answer(inputs, coef).float(), y),
                x,
                self.eps,
                self.attack,
                engine.generator,
            )
        with engine.accelerator.autocast():
            answer = engine.answer(moved, now.coef)
        return engine.task.loss(answer.float(), y) - clean


def attacked(
    loss: Callable[[Tensor], Tensor], x: Tensor, eps: float, attack: str, generator: torch.Generator
) -> Tensor:
    """Inputs within eps of x, in the maximum norm, at which the loss is larger.

    Args:
        loss: of inputs like x, a scalar.
        attack: "fgsm" or "pgd".
    """
    if attack == "fgsm":
        return (x + eps * _sign(loss, x)).detach()
    start = torch.rand(x.shape, generator=generator, device=x.device, dtype=x.dtype)
    found = x + eps * (2 * start - 1)
    for _ in range(PGD_STEPS):
        found = x + (found + eps / 4 * _sign(loss, found) - x).clamp(-eps, eps)
    return found.detach()


def _sign(loss: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """The sign of d loss / dx."""
    with torch.enable_grad():
        at = x.detach().requires_grad_()
        return torch.autograd.grad(loss(at), at)[0].sign()
