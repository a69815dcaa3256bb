"""Monitor, the base: after each epoch, whether the search goes on, stops, goes back, or changes; and its actions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dashfx.ops import AggConv
from dashfx.space import Candidate
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

    def begin(self, engine: Engine) -> None:
        """Look at the model before anything is trained.

        Raises:
            ConfigError: it cannot be watched in this way.
        """

    @abstractmethod
    def on_epoch(self, ctx: Context) -> Sequence[Action]:
        """What is to happen; nothing lets the search go on. Every process of a run must come to the same."""

    def state_dict(self) -> dict[str, Any]:
        """What it remembers, as plain values."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Remember what `state_dict` gave."""
