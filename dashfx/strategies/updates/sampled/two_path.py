"""ProxylessNAS: two candidates a site are drawn, and learn from how the loss would change between them.

Cai, Zhu and Han, "ProxylessNAS: Direct Neural Architecture Search on Target Task and Hardware", ICLR 2019.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from dashfx.ops.relaxations.base import masked_softmax
from dashfx.ops.ties import decisions_of, logits_of
from dashfx.strategies.updates.base import Alternating

if TYPE_CHECKING:
    from dashfx.strategies.engine import Engine
    from dashfx.train.fit import Batch


@dataclass(frozen=True)
class TwoPath(Alternating):
    """Mixtures: of two candidates drawn by p without repeats, one has gate 1; dL/da_i = sum_j dL/dg_j q_j (d_ij - q_i).

    q is p over the two alone, and by it the one is drawn. After the step the two logits are shifted together so that
    their probability together, and that of each other candidate, is as before. Weights learn on what the relaxation
    draws: `categorical`, with `search.alpha_optimizer=adam:beta1=0`. A conv is linear in its kernel, so both gates'
    gradients come from one mixed kernel in which one has coefficient 1.
    """

    paper: ClassVar[str] = "Cai et al., ProxylessNAS: Direct NAS on Target Task and Hardware, ICLR 2019"
    row: ClassVar[str] = "33"

    def begin(self, engine: Engine) -> None:
        engine.need_gradients("search.update=two-path")

    def step_alphas(self, engine: Engine, batch: Batch) -> None:
        pairs = drawn_pairs(engine)
        logits = dict(zip(engine.sites, logits_of(engine.sites), strict=True))
        gates = {
            name: torch.zeros_like(row).index_fill(0, pairs[name][:1], 1.0).requires_grad_()
            for name, row in logits.items()
        }
        with engine.alone():
            slopes = engine.gradients(engine.loss(batch, coef=gates, part="alphas"), list(gates.values()))
        expected = [
            (logits[name][pairs[name]].softmax(0) * slope[pairs[name]].detach()).sum()
            for name, slope in zip(gates, slopes, strict=True)
        ]
        engine.give(engine.gradients(torch.stack(expected).sum(), engine.alphas))
        before = [alpha.detach().clone() for alpha in engine.alphas]
        engine.step_alphas()
        for alpha, old, pair in zip(engine.alphas, before, pairs.values(), strict=True):
            restore(alpha, old, pair)


def drawn_pairs(engine: Engine) -> Mapping[str, Tensor]:
    """Site -> (2,) candidates, first the one with gate 1, by p and without repeats; alike where sites choose together.

    Of a site with one candidate left, (1,).
    """
    found: dict[str, Tensor] = {}
    logits = dict(zip(engine.sites, logits_of(engine.sites), strict=True))
    for group in decisions_of(engine.sites):
        site = engine.sites[group[0]]
        p = masked_softmax(logits[group[0]].detach(), site.mask)
        count = min(2, int(site.mask.sum()))
        places = torch.multinomial(p + site.mask * 1e-12, count, generator=engine.generator)
        order = torch.multinomial(p[places] + 1e-12, count, generator=engine.generator)
        found |= {name: places[order] for name in group}
    return {name: found[name] for name in engine.sites}


@torch.no_grad()
def restore(alpha: Tensor, old: Tensor, pair: Tensor) -> None:
    """All logits but the pair's are as before, and so is the probability of the pair together."""
    new = alpha[pair] + (old[pair].logsumexp(0) - alpha[pair].logsumexp(0))
    alpha.copy_(old)
    alpha[pair] = new
