"""Monitors: after each epoch, whether the search goes on, stops, goes back, changes an option, or drops candidates."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dashfx.config.search import SearchConfig
from dashfx.genotype import Genotype
from dashfx.ops import AggConv
from dashfx.plugins import Count, Share
from dashfx.space import Candidate
from dashfx.strategies.rules import Argmax
from dashfx.train.progress import Epoch

if TYPE_CHECKING:
    from dashfx.strategies.engine import Engine


@dataclass(frozen=True)
class Context:
    """What a monitor sees when an epoch is done.

    Attributes:
        epoch: its number, from 0.
        warm: whether architecture parameters move already.
        settled: how many epochs ago warm-up and fade were over; negative before.
        engine: of the search, for what the sites alone do not tell, such as losses and gradients; not to be changed.
        history: every epoch so far, this one included.
    """

    sites: Mapping[str, AggConv]
    epoch: int
    warm: bool
    settled: float
    engine: Engine | None = None
    history: Sequence[Epoch] = ()


@dataclass(frozen=True)
class Stop:
    """The search ends with this epoch."""

    reason: str


@dataclass(frozen=True)
class Drop:
    """A candidate leaves the search for good."""

    site: str
    candidate: Candidate


@dataclass(frozen=True)
class Rollback:
    """The search stands again as it did at the end of an earlier epoch, weights, mixtures and optimisers bit for bit.

    Only monitors remember what has been since. All other actions of this epoch fall away, but for a `Stop`, which wins.

    Args:
        epoch: its number, from 0; -1 is the start of the search. It must be one of the last `Monitor.ring` epochs.
        changes: options that are set then, as by `Set`; with the same ones it goes back to an epoch only once.
    """

    epoch: int
    changes: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Set:
    """A number among the options of the search is another for the epochs to come, see `engine.CHANGEABLE`."""

    option: str
    value: float


Action = Stop | Drop | Rollback | Set


class Monitor(ABC):
    """Looks at the search after each epoch. What it remembers is part of the search's checkpoints.

    Attributes:
        ring: how many epochs back it may ask for a `Rollback`: so many states are kept, on disk too.
    """

    ring: int = 0

    @abstractmethod
    def on_epoch(self, ctx: Context) -> Sequence[Action]:
        """What is to happen; nothing lets the search go on. Every process of a run must come to the same."""

    def state_dict(self) -> dict[str, Any]:
        """What it remembers, as plain values."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Remember what `state_dict` gave."""


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


@dataclass
class Shrink(Monitor):
    """Candidates leave whose coefficient has stayed below a share of their site's largest for some epochs.

    It is counted from the end of the warm-up on. What leaves takes its part of the mixed kernel along, at most `share`
    of what the largest puts in; the mixed kernel, and with it the transform, shrink to what is left.
    """

    share: Share
    epochs: Count = 3
    below: dict[str, dict[str, int]] = field(default_factory=dict, init=False)

    def on_epoch(self, ctx: Context) -> Sequence[Action]:
        return [action for name, site in ctx.sites.items() for action in self._leaving(name, site)] if ctx.warm else []

    def _leaving(self, name: str, site: AggConv) -> list[Action]:
        coef = site.coefficients().tolist()
        before, least = self.below.get(name, {}), self.share * max(coef)
        low = [candidate for candidate, value in zip(site.candidates, coef, strict=True) if value < least]
        self.below[name] = {str(candidate): before.get(str(candidate), 0) + 1 for candidate in low}
        return [Drop(name, candidate) for candidate in low if self.below[name][str(candidate)] >= self.epochs]

    def state_dict(self) -> dict[str, Any]:
        return {"below": self.below}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.below = {name: dict(counts) for name, counts in state["below"].items()}


MONITORS: dict[str, type[Monitor]] = {"patience": Patience, "shrink": Shrink}


def monitors_of(config: SearchConfig) -> list[Monitor]:
    """The monitors that the options ask for."""
    patience: list[Monitor] = [Patience(config.patience)] if config.patience else []
    return [*patience, Shrink(config.shrink)] if config.shrink else patience
