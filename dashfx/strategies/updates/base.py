"""Update, the base: how weights and architecture parameters share a training step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor

if TYPE_CHECKING:
    from dashfx.strategies.engine import Engine
    from dashfx.train.fit import Batch


class Update(ABC):
    """How weights and architecture parameters share a training step.

    Attributes:
        uses_held_out: whether it is given batches of a share of the training part that the weights never see.
        moves_mixtures: whether architecture parameters learn, so that a rule has something to read.
        needs_budgets: whether it does nothing without a budget.
    """

    uses_held_out: ClassVar[bool] = False
    moves_mixtures: ClassVar[bool] = True
    needs_budgets: ClassVar[bool] = False

    def begin(self, engine: Engine) -> None:
        """Look at the model before anything is trained.

        Raises:
            ConfigError: it cannot be trained in this way.
        """

    @abstractmethod
    def step(self, engine: Engine, train_batch: Batch, valid_batch: Batch | None) -> Tensor:
        """One step; returns the training loss, detached. `valid_batch` is given where `uses_held_out`."""

    def before_alphas(self, engine: Engine) -> None:
        """A last look at the gradients of the architecture parameters, before these take a step."""

    def state_dict(self) -> dict[str, Any]:
        """What it remembers from step to step, as tensors and plain values."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Remember what `state_dict` gave."""


class Alternating(Update):
    """Weights descend on the training batch, and then the mixtures move by a batch that the weights never see."""

    uses_held_out: ClassVar[bool] = True

    def step(self, engine: Engine, train_batch: Batch, valid_batch: Batch | None) -> Tensor:
        assert valid_batch is not None
        engine.zero_grad()
        loss = engine.loss(train_batch, part="weights")
        engine.step_weights(loss)
        if engine.warm:
            self.step_alphas(engine, valid_batch)
        return loss.detach()

    @abstractmethod
    def step_alphas(self, engine: Engine, batch: Batch) -> None:
        """Move the architecture parameters by a held-out batch."""


class SecondOrder(Update):
    """Mixtures descend on a gradient that looks through the weights, and then the weights on the training loss."""

    name: ClassVar[str]
    uses_held_out: ClassVar[bool] = True

    def begin(self, engine: Engine) -> None:
        engine.need_second_order(f"search.update={self.name}")

    def step(self, engine: Engine, train_batch: Batch, valid_batch: Batch | None) -> Tensor:
        assert valid_batch is not None
        if engine.warm:
            engine.give(self.gradient(engine, train_batch, valid_batch))
            engine.step_alphas()
        engine.zero_grad()
        loss = engine.loss(train_batch, part="weights")
        engine.step_weights(loss)
        return loss.detach()

    @abstractmethod
    def gradient(self, engine: Engine, train_batch: Batch, valid_batch: Batch) -> list[Tensor]:
        """For each of `engine.alphas`."""
