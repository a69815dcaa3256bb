"""RobustDARTS: the largest eigenvalue of the validation loss's Hessian in the mixtures tells when a search goes wrong.

Zela et al., "Understanding and Robustifying Differentiable Architecture Search", ICLR 2020.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import torch
from pydantic import Field

from dashfx.plugins import Count
from dashfx.strategies.monitors.base import Action, Context, Monitor, Rollback

if TYPE_CHECKING:
    from dashfx.strategies.engine import Engine


@dataclass
class Curvature(Monitor):
    """Where the mean of the last `window` values is `factor` times that of `lag` epochs before, the search ends there.

    It ends with the state of `lag` epochs before (DARTS-ES); or, with `returns`, it first goes back there as often and
    goes on with a weight decay that is `decay` times as large (DARTS-ADA). Values are counted once mixtures move; one
    is the largest eigenvalue of d2L/da2 on a fixed batch of the held-out share, from the exact Hessian.

    Args:
        start: the first epoch, from 0, after which it may act.
        returns: how often it goes back before it ends the search.
    """

    window: Count = 5
    lag: Count = 4
    factor: Annotated[float, Field(gt=1)] = 1.3
    start: Annotated[int, Field(ge=0)] = 10
    returns: Annotated[int, Field(ge=0)] = 0
    decay: Annotated[float, Field(gt=1)] = 3.0
    values: list[float] = field(default_factory=list, init=False)
    returned: int = field(default=0, init=False)
    uses_held_out: ClassVar[bool] = True
    paper: ClassVar[str] = "Zela et al., Understanding and Robustifying Differentiable Architecture Search, ICLR 2020"
    row: ClassVar[str] = "2"

    def __post_init__(self) -> None:
        self.ring = self.lag

    def begin(self, engine: Engine) -> None:
        engine.need_second_order("search.monitors=curvature")

    def on_epoch(self, ctx: Context) -> Sequence[Action]:
        assert ctx.engine is not None
        if not ctx.warm:
            return []
        hessian = ctx.engine.alpha_hessian(ctx.engine.held_batch())
        self.values.append(float(torch.linalg.eigvalsh(hessian.double().cpu())[-1]))
        if ctx.epoch < self.start or not self.rises():
            return []
        del self.values[-self.lag :]
        epoch, weight_decay = ctx.epoch - self.lag, ctx.engine.config.weight_decay
        if self.returned < self.returns and weight_decay:
            self.returned += 1
            return [Rollback(epoch, {"weight_decay": self.decay * weight_decay})]
        return [Rollback(epoch, {"epochs": epoch + 1})]  # which ends the search there

    def rises(self) -> bool:
        """Whether the mean of the latest values exceeds the earlier mean by the factor."""
        if len(self.values) < self.window + self.lag:
            return False
        now, before = self.values[-self.window :], self.values[-self.window - self.lag : -self.lag]
        return 0 < self.factor * sum(before) < sum(now)

    def state_dict(self) -> dict[str, Any]:
        return {"values": self.values, "returned": self.returned}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.values, self.returned = list(state["values"]), state["returned"]
