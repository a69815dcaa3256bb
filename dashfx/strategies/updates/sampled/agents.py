"""MANAS: a bandit at each site plays against the held-out loss of what all of them drew, without a gradient.

After Lopes, Carlucci, Esperanca, Singh and others, "MANAS: Multi-Agent Neural Architecture Search", 2019.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from torch import Tensor

from dashfx.ops.relaxations.base import masked_softmax
from dashfx.ops.ties import logits_of
from dashfx.plugins import Count, Positive
from dashfx.strategies.updates.base import Alternating

if TYPE_CHECKING:
    from dashfx.strategies.engine import Engine
    from dashfx.train.fit import Batch

PENALTY = 0.1  # of the least squares


@dataclass
class Agents(Alternating):
    """Logits are -rate * (summed estimates of each candidate's loss); weights learn on what `categorical` draws.

    `exp3`: the loss over the probability of what was drawn, 0 for the others (Auer et al., 2002). `least-squares`: the
    loss as a sum of one number a site and candidate, fitted to the last `window` draws. Losses are over the largest so
    far, so that they lie between 0 and 1.

    Args:
        rate: gamma.
    """

    rate: Positive = 0.05
    credit: Literal["exp3", "least-squares"] = "exp3"
    window: Count = 100
    largest: float = field(default=0.0, init=False)
    codes: list[list[int]] = field(default_factory=list, init=False)
    losses: list[float] = field(default_factory=list, init=False)
    paper: ClassVar[str] = "after Lopes et al., MANAS: Multi-Agent Neural Architecture Search, 2019"
    row: ClassVar[str] = "89"

    def step_alphas(self, engine: Engine, batch: Batch) -> None:
        x, y = batch
        with torch.no_grad():
            drawn = {name: int(row.argmax()) for name, row in engine.coefficients().items()}
            said = engine.task.loss(engine.answer(x, drawn).float(), y)
        if engine.accelerator.num_processes > 1:
            said = engine.accelerator.reduce(said, "mean")
        self.hear(engine, drawn, float(said))

    @torch.no_grad()
    def hear(self, engine: Engine, drawn: Mapping[str, int], loss: float) -> None:
        """Move the logits by the loss of one draw; a loss that is no number counts as the largest so far."""
        known = math.isfinite(loss)
        self.largest = max(self.largest, loss) if known else self.largest
        share = (loss if known else self.largest) / (self.largest or 1.0)
        if self.credit == "exp3":
            for site, logits, place in zip(engine.sites.values(), logits_of(engine.sites), drawn.values(), strict=True):
                site.alpha[place] -= self.rate * share / masked_softmax(logits, site.mask)[place]
        else:
            sizes = [len(site.mask) for site in engine.sites.values()]
            for site, credit in zip(
                engine.sites.values(), self._credits(sizes, list(drawn.values()), share), strict=True
            ):
                site.alpha.sub_(self.rate * credit.to(site.alpha))

    def _credits(self, sizes: Sequence[int], drawn: list[int], loss: float) -> Sequence[Tensor]:
        """Of each site (n_candidates,), what each adds to the loss, by the draws so far and this one."""
        if (
            self.codes
            and len(self.codes[0]) == len(drawn)
            and any(place >= size for code in self.codes for place, size in zip(code, sizes, strict=True))
        ):
            self.codes, self.losses = [], []  # candidates have left
        self.codes, self.losses = [*self.codes, drawn][-self.window :], [*self.losses, loss][-self.window :]
        return least_squares(self.codes, self.losses, sizes)

    def state_dict(self) -> dict[str, Any]:
        return {"largest": self.largest, "codes": self.codes, "losses": self.losses}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.largest, self.codes, self.losses = state["largest"], list(state["codes"]), list(state["losses"])


def least_squares(codes: Sequence[Sequence[int]], losses: Sequence[float], sizes: Sequence[int]) -> Sequence[Tensor]:
    """For each site (n_candidates,) numbers of mean 0 whose sum over what was drawn is the loss above its mean."""
    starts = torch.tensor([0, *sizes[:-1]]).cumsum(0)
    x = torch.zeros(len(codes), sum(sizes), dtype=torch.float64)
    x.scatter_(1, torch.tensor(codes) + starts, 1.0)
    y = torch.tensor(losses, dtype=torch.float64)
    found = torch.linalg.solve(x.T @ x + PENALTY * torch.eye(x.shape[1], dtype=x.dtype), x.T @ (y - y.mean()))
    return [each - each.mean() for each in found.split(list(sizes))]
