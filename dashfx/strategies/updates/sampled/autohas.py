"""AutoHAS: candidates and learning rates are drawn from one distribution, and weights that were moved only for a look
tell what a draw is worth.

Dong, Tan, Yu, Peng, Gabrys and Le, "AutoHAS: Efficient Hyperparameter and Architecture Search", 2020.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from dashfx.ops.ties import logits_of
from dashfx.plugins import Positive
from dashfx.strategies.updates.base import Update

if TYPE_CHECKING:
    from dashfx.strategies.engine import Engine
    from dashfx.train.fit import Batch


@dataclass
class AutoHas(Update):
    """A draw's reward is minus the held-out loss of w - rate * factor * dL/dw; REINFORCE moves candidates and factors.

    Then the weights that are kept move by the same gradient with the drawn factor of their rate. With
    `search.relaxation=categorical`. Before mixtures move, the factor is 1, and rewards only make the baseline.

    Args:
        factors: of the learning rate, among which one is drawn at each step.
        rate: of the factors' logits; candidates have `search.alpha_lr`.
        memory: share of the baseline that stays at each step.
    """

    factors: tuple[Positive, ...] = (0.3, 1.0, 3.0)
    rate: Positive = 0.05
    memory: Annotated[float, Field(ge=0, lt=1)] = 0.9
    logits: list[float] = field(default_factory=list, init=False)
    baseline: float | None = field(default=None, init=False)
    deviation: float = field(default=0.0, init=False)
    uses_held_out: ClassVar[bool] = True
    paper: ClassVar[str] = "Dong et al., AutoHAS: Efficient Hyperparameter and Architecture Search, 2020"
    row: ClassVar[str] = "38"

    def begin(self, engine: Engine) -> None:
        engine.need_gradients("search.update=autohas")
        self.logits = self.logits or [0.0] * len(self.factors)

    def step(self, engine: Engine, train_batch: Batch, valid_batch: Batch | None) -> Tensor:
        assert valid_batch is not None
        engine.zero_grad()
        with torch.no_grad():
            drawn = {name: int(row.argmax()) for name, row in engine.coefficients().items()}
        x, y = train_batch
        with engine.alone():
            loss = engine.task.loss(engine.answer(x, drawn).float(), y)
            slopes = engine.gradients(loss, engine.learning)
        factor = self._draw(engine) if engine.warm else None
        now = 1.0 if factor is None else self.factors[factor]
        advantage = self._advantage(-looked_at(engine, slopes, now, valid_batch, drawn))
        if factor is not None:
            self._climb(engine, drawn, factor, advantage)
        used = without_nothing(slopes)
        for weight, slope, moves in zip(engine.learning, slopes, used, strict=True):
            weight.grad = slope if moves else None
        self._step_weights(engine, now)
        return loss.detach()

    def _draw(self, engine: Engine) -> int:
        shares = torch.tensor(self.logits, dtype=torch.float64).softmax(0).to(engine.generator.device)
        return int(torch.multinomial(shares, 1, generator=engine.generator))

    def _advantage(self, reward: float) -> float:
        """How far above the moving mean, in moving deviations; then both move."""
        if reward != reward or reward == -float("inf"):
            return -1.0
        if self.baseline is None:
            self.baseline = reward
        found = reward - self.baseline
        self.baseline += (1 - self.memory) * found
        self.deviation = self.memory * self.deviation + (1 - self.memory) * abs(found)
        return max(-3.0, min(3.0, found / self.deviation)) if self.deviation else 0.0

    def _climb(self, engine: Engine, drawn: Mapping[str, int], factor: int, advantage: float) -> None:
        logits = logits_of(engine.sites)
        pairs = zip(engine.sites.values(), logits, drawn.values(), strict=True)
        logs = [row.masked_fill(~site.mask, -torch.inf).log_softmax(0)[place] for site, row, place in pairs]
        engine.give(engine.gradients(-advantage * torch.stack(logs).sum(), engine.alphas))
        engine.step_alphas()
        shares = torch.tensor(self.logits, dtype=torch.float64).softmax(0).tolist()
        held = [float(place == factor) for place in range(len(shares))]
        moves = [self.rate * advantage * (own - share) for own, share in zip(held, shares, strict=True)]
        self.logits = [own + move for own, move in zip(self.logits, moves, strict=True)]

    def _step_weights(self, engine: Engine, factor: float) -> None:
        groups = engine.optimisers["weights"].param_groups
        rates = [group["lr"] for group in groups]
        for group, rate in zip(groups, rates, strict=True):
            group["lr"] = factor * rate
        try:
            engine.step_weights()
        finally:
            for group, rate in zip(groups, rates, strict=True):
                group["lr"] = rate

    def state_dict(self) -> dict[str, Any]:
        return {"logits": self.logits, "baseline": self.baseline, "deviation": self.deviation}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.logits, self.baseline, self.deviation = list(state["logits"]), state["baseline"], state["deviation"]


def looked_at(engine: Engine, slopes: list[Tensor], factor: float, batch: Batch, drawn: Mapping[str, int]) -> float:
    """The held-out loss after one plain step that is taken back, bit for bit."""
    x, y = batch
    moved = [w.detach() - engine.rate * factor * slope for w, slope in zip(engine.learning, slopes, strict=True)]
    with torch.no_grad(), engine.alone(), engine.displaced(engine.learning, moved):
        said = engine.task.loss(engine.answer(x, drawn).float(), y)
    if engine.accelerator.num_processes > 1:
        said = engine.accelerator.reduce(said, "mean")
    return float(said)


def without_nothing(slopes: list[Tensor]) -> list[bool]:
    """Which gradients are any: weights of candidates that were not drawn must not be moved by a decay either."""
    return torch.stack([slope.detach().any() for slope in slopes]).tolist()
