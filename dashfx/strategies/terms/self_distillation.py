"""Self-distillation: the supernet stays near the mean answer of what it was after the last few epochs.

After "Improving Differentiable Architecture Search via Self-Distillation", 2023, by its abstract.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor
from torch.func import functional_call

from dashfx.errors import ConfigError
from dashfx.plugins import Count, Positive
from dashfx.strategies.terms.base import Moment, Part, Term
from dashfx.train.distillation import disagreement

if TYPE_CHECKING:
    from dashfx.strategies.engine import Engine


@dataclass
class SelfDistillation(Term):
    """weight * T^2 KL(v || softmax(z / T)), v that softmax in the mean over the last `teachers` epochs' supernets.

    Teachers have weights and mixtures of their epoch's end, without noise, in eval mode; nothing is added before there
    is one. For labels and numbers it is what distillation has there. When candidates leave, teachers go with them.

    Args:
        teachers: K, each a copy of all weights, and a pass without gradients a step.
        temperature: T.

    Raises:
        ConfigError: when the search begins, a task whose answers cannot be averaged.
    """

    weight: float = 1.0
    teachers: Count = 3
    temperature: Positive = 1.0
    ring: list[dict[str, Any]] = field(default_factory=list, init=False, repr=False, compare=False)
    part: ClassVar[Part] = "weights"
    paper: ClassVar[str] = "after Improving Differentiable Architecture Search via Self-Distillation, 2023"
    row: ClassVar[str] = "10"

    def begin(self, engine: Engine) -> None:
        if engine.task.average is None:
            raise ConfigError(
                f"term self-distillation learns from earlier answers, and task {engine.task.name!r} does not "
                "say what these are; give its Task an `average`"
            )
        own = {name: len(site.mask) for name, site in engine.sites.items()}
        self.ring = [each for each in self.ring if {n: len(row) for n, row in each["coef"].items()} == own]

    def __call__(self, now: Moment) -> Tensor:
        if not self.ring:
            return 0.0 * now.output.float().sum()
        x, y = now.batch
        taught = self.mean([self._answer(now.engine, x, each) for each in self.ring], now.engine.task.average)
        return disagreement(now.output, taught, y, now.engine.task, self.temperature)

    def mean(self, answers: list[Tensor], average: Any) -> Tensor:
        """Scores whose softmax or sigmoid at the temperature is the mean of the answers' own; numbers' mean."""
        rows, t = torch.stack(answers).float(), self.temperature
        if average == "softmax":
            return t * (rows / t).log_softmax(2).logsumexp(0)
        return t * (rows / t).sigmoid().mean(0).logit(1e-7) if average == "sigmoid" else rows.mean(0)

    @torch.no_grad()
    def _answer(self, engine: Engine, x: Tensor, teacher: Mapping[str, Any]) -> Tensor:
        from dashfx.strategies.engine.engine import mixing  # the engine itself imports terms

        device = engine.accelerator.device
        coef, state = ({k: v.to(device) for k, v in teacher[kind].items()} for kind in ("coef", "state"))
        with engine.evaluating(), mixing(engine.sites, coef):
            found: Tensor = functional_call(engine.plain, state, (x,))
        return found

    @torch.no_grad()
    def after_epoch(self, engine: Engine) -> None:
        state = {name: value.detach().clone() for name, value in engine.plain.state_dict().items()}
        coef = {name: site.coefficients().detach().clone() for name, site in engine.sites.items()}
        self.ring = [*self.ring, {"coef": coef, "state": state}][-self.teachers :]

    def state_dict(self) -> dict[str, Any]:
        return {"ring": self.ring}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.ring = list(state["ring"])
