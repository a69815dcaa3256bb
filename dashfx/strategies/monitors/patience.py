"""Patience: a search stops when no site's choice has changed for so many epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dashfx.genotype import Genotype
from dashfx.plugins import Count
from dashfx.strategies.monitors.base import Action, Context, Monitor, Stop
from dashfx.strategies.rules import Argmax


@dataclass
class Patience(Monitor):
    """Stop when no site's choice has changed for so many epochs that followed the warm-up and the fade."""

    epochs: Count
    choices: list[Genotype] = field(default_factory=list, init=False)

    def on_epoch(self, ctx: Context) -> Sequence[Action]:
        self.choices.append(Argmax().select(ctx.sites))
        recent = self.choices[-self.epochs - 1 :]
        if ctx.settled < self.epochs or any(choice != recent[0] for choice in recent):
            return []
        return [Stop(f"no choice has changed for {self.epochs} epochs")]

    def state_dict(self) -> dict[str, Any]:
        return {"choices": [choice.to_json() for choice in self.choices]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.choices = [Genotype.from_json(text) for text in state["choices"]]
