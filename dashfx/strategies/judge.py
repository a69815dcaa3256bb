"""A judge of mixtures: coefficients go in, the loss on the held-out share of the train part comes out; looks count."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from dashfx.data import Data
from dashfx.ops import AggConv
from dashfx.strategies.engine import Engine, hold_out, mixing
from dashfx.train.batchnorm import norms_of


class Judge:
    """What a rule may ask about trained mixtures, as often as it likes: each answer wears its rows out a little.

    Attributes:
        looks: how often it was asked.
        rows: how many rows an answer is the mean over.
    """

    def __init__(self, engine: Engine, data: Data) -> None:
        self._engine, self.looks = engine, 0
        self._held = hold_out(data, engine.config.held_out)[1].train
        size = min(engine.config.batch_size, len(self._held))
        starts = range(0, len(self._held) - size + 1, size)  # batch norm wants full batches
        self._batches = [list(range(start, start + size)) for start in starts]
        self.rows = size * len(starts)

    @property
    def sites(self) -> Mapping[str, AggConv]:
        """All sites, those that are decided included."""
        return self._engine.sites

    def coefficients(self) -> dict[str, Tensor]:
        """Those of all sites as they are, without noise."""
        return {name: site.coefficients().detach() for name, site in self.sites.items()}

    @torch.no_grad()
    def loss(self, coef: Mapping[str, Tensor]) -> float:
        """The task's loss with these coefficients; batch norm by the batch, since each mixture has other statistics."""
        engine, device = self._engine, self._engine.accelerator.device
        self.looks += 1
        frozen = engine.config.freeze == "unsearched"
        norms = [] if frozen else norms_of(engine.plain)
        modes = [(module, module.training) for module in engine.plain.modules()]
        total = torch.zeros((), device=device)
        with engine.displaced(), mixing(self.sites, coef):
            try:
                engine.plain.eval()
                for norm in norms:
                    norm.train()
                for x, y in map(self._held.__getitems__, self._batches):
                    total += engine.task.loss(engine.predict(x.to(device)), y.to(device)).detach()
            finally:
                for module, mode in modes:
                    module.training = mode
        return float(total) / len(self._batches)
