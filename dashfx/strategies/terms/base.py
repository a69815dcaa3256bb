"""Term, the base: what a search adds to the task's loss, with its weight, and what it sees of a step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from torch import Tensor

if TYPE_CHECKING:
    from dashfx.strategies.engine import Engine
    from dashfx.train.fit import Batch

Part = Literal["weights", "alphas", "both"]


@dataclass(frozen=True)
class Moment:
    """What a term sees of a step.

    Attributes:
        output: the supernet's, with gradient.
        coef: site name -> (n_candidates,), with gradient.
        part: what the gradient of this loss is to move.
    """

    engine: Engine
    batch: Batch
    output: Tensor
    coef: Mapping[str, Tensor]
    part: Part


class Term(ABC):
    """A number that is added to the loss, times `weight`.

    Attributes:
        weight: 0 leaves the term out.
        part: what it moves: terms of "weights" count from the first step on, the others once architecture parameters
            move; an update with a loss for each part (`Engine.loss(part=...)`) leaves those of the other part out.
    """

    weight: float = 1.0
    part: ClassVar[Part] = "both"

    @abstractmethod
    def __call__(self, now: Moment) -> Tensor:
        """A scalar with gradient."""

    def begin(self, engine: Engine) -> None:
        """Look at the sites as they are now; called before the first step, and when candidates have left."""

    def after_epoch(self, engine: Engine) -> None:
        """What changes from epoch to epoch."""

    def state_dict(self) -> dict[str, Any]:
        """What it remembers from step to step, as tensors and plain values."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Remember what `state_dict` gave."""
