"""Inputs of a run: the user's model, data, task and configuration, frozen, and what a user can get wrong in them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import Tensor, nn

from dashfx.config.run import RunConfig
from dashfx.data import Data
from dashfx.data.load import augmented
from dashfx.frontend.checkpoint import load_checkpoint
from dashfx.frontend.model import ModelSource, build
from dashfx.frontend.outputs import check_fit
from dashfx.strategies.base import Strategy
from dashfx.strategies.named import strategy_of
from dashfx.task import Task

ModelLike = str | nn.Module | Callable[..., nn.Module]


@dataclass(frozen=True)
class Inputs:
    """What a run is made of.

    Attributes:
        checkpoint: the file of weights that the model comes with, where it does.
        given: the strategy, where Python gave an object.
    """

    source: ModelSource
    data: Data
    task: Task
    config: RunConfig
    checkpoint: str | None
    given: Strategy | None = None

    @property
    def strategy(self) -> Strategy:
        """The search strategy: the object given, or the one that the configuration names."""
        return self.given or strategy_of(self.config)

    @property
    def example(self) -> Tensor:
        """Two rows of the training data: batch norm in train mode needs more than one."""
        x, _ = self.data.train.__getitems__([0, min(1, len(self.data.train) - 1)])
        return x

    @property
    def starts_fresh(self) -> bool:
        """Whether training starts from the model as its class builds it, rather than from the checkpoint."""
        return self.config.retrain.weights == "fresh" or not self.checkpoint

    def first_rows(self, count: int) -> Tensor:
        """So many inputs of the train part, or all that there are: a batch to measure with."""
        x: Tensor = self.data.train.__getitems__(list(range(min(count, len(self.data.train)))))[0]
        return x

    def fresh_model(self) -> nn.Module:
        """The model as its class builds it, the same weights at every call."""
        return build(self.source, self.config.seed)

    def given_model(self) -> nn.Module:
        """The user's model, with the checkpoint's weights where there is one."""
        return self.loaded_model()[0]

    def loaded_model(self) -> tuple[nn.Module, list[str]]:
        """The same, and what loading the checkpoint had to say."""
        model, config = self.fresh_model(), self.config
        if not self.checkpoint:
            return model, []
        return model, load_checkpoint(model, self.checkpoint, key=config.checkpoint_key, new_head=config.new_head)

    def start_model(self) -> nn.Module:
        """The model that a training without a supernet starts from."""
        return self.fresh_model() if self.starts_fresh else self.given_model()

    def with_config(self, config: RunConfig) -> Inputs:
        """The same with other options; `augment` changes the data's training batches.

        Raises:
            DataError: an augmentation that is not there, or does not fit.
        """
        same = config.augment == self.config.augment
        return replace(self, config=config, data=self.data if same else augmented(self.data, config.augment))

    def for_search(self) -> Inputs:
        """The inputs of what searches: as they are, or with `search.as_retrained` those of what trains a choice."""
        return self.for_retraining() if self.config.search.as_retrained else self

    def for_retraining(self) -> Inputs:
        """The inputs of what trains a choice: with the model that `retrain.model_args` make, where there are any.

        Raises:
            ModelError: the model takes no such argument.
        """
        args = self.config.retrain.model_args
        return replace(self, source=self.source.with_arguments(args), checkpoint=None) if args else self


def check_model(inputs: Inputs) -> list[str]:
    """Whether the user's model takes the data and gives what the task needs; what a user should know of it comes back.

    Raises:
        ModelError: its forward fails on two rows of the data, gives other than one tensor, or cannot be trained.
        TaskError: its output does not fit the targets.
        CheckpointError: the checkpoint does not fit.
    """
    model, notes = inputs.loaded_model()
    return [*notes, *check_fit(model, inputs.example, inputs.data, inputs.task)]
