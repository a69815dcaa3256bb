"""Normalised gradients of architecture parameters, as the authors' code of DASH has them, around another update."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import torch
from pydantic import BeforeValidator, Field
from torch import Tensor

from dashfx.plugins import Positive, find
from dashfx.strategies.updates.base import Update
from dashfx.strategies.updates.one_level import OneLevel

if TYPE_CHECKING:
    from dashfx.ops import AggConv
    from dashfx.strategies.engine import Engine
    from dashfx.train.fit import Batch

Named = Annotated[Update, BeforeValidator(lambda text: find("update", text))]


@dataclass(frozen=True)
class Normalised(Update):
    """Each site's gradient g becomes g / (scale |g|) + pull * span before the mixtures take their step.

    So every site moves equally far, however little its kernels matter, and `alpha_lr` alone says how fast. The authors'
    code, not their paper, does so with a scale of 10 to 5000 set by hand for each task and a pull of 1e-5 a position
    spanned, here off. With adam only the pull against the rest is left of the scale: sgd is what it was written for.

    Args:
        inner: what shares the step.
        pull: towards small spans, in units of the gradient for each position spanned, the mean over the axes.
    """

    inner: Named = field(default_factory=OneLevel)
    scale: Positive = 10.0
    pull: Annotated[float, Field(ge=0)] = 0.0

    @property
    def uses_held_out(self) -> bool:  # type: ignore[override]
        return self.inner.uses_held_out

    def begin(self, engine: Engine) -> None:
        engine.need_gradients("search.update=normalised")
        self.inner.begin(engine)

    def step(self, engine: Engine, train_batch: Batch, valid_batch: Batch | None) -> Tensor:
        return self.inner.step(engine, train_batch, valid_batch)

    @torch.no_grad()
    def before_alphas(self, engine: Engine) -> None:
        self.inner.before_alphas(engine)
        for site in engine.sites.values():
            if site.alpha.grad is not None:
                least = torch.finfo(site.alpha.dtype).tiny
                site.alpha.grad /= (self.scale * site.alpha.grad.norm()).clamp_min(least)
                if self.pull:
                    site.alpha.grad += self.pull * spans_of(site)

    def state_dict(self) -> dict[str, Any]:
        return self.inner.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.inner.load_state_dict(state)


def spans_of(site: AggConv) -> Tensor:
    """(n_candidates,): d(k - 1) + 1, the mean over the axes."""
    return torch.tensor([sum(c.span) / c.ndim for c in site.candidates]).to(site.alpha)
