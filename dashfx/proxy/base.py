"""A module and a batch go in; one number that orders modules comes out: what every proxy shares."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dashfx.errors import ProxyError
from dashfx.frontend.tracing import copy_model, random_state_kept
from dashfx.space import size_text

Batch = Tensor | Sequence[Tensor]  # inputs, or (inputs, labels) for the proxies that use labels


class Proxy(ABC):
    """A training-free or nearly training-free score of a network.

    Attributes:
        name: column heading and name on the command line.
        maximise: whether a larger score is better.
        seed: every module is measured from this seed, so a score depends on nothing but module, batch and seed.
    """

    name: str
    maximise: bool = True

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    @property
    def worst(self) -> float:
        return -math.inf if self.maximise else math.inf

    def score(self, module: nn.Module, batch: Batch) -> float:
        """The score of `module` with the weights that it holds; `worst` where no finite number comes out.

        A copy is measured: the module and the global random state stay as they are.

        Args:
            batch: inputs (batch, channels, *size), (batch, steps) of tokens or (batch, steps, features) for recurrent
                networks; or such inputs and their labels.

        Raises:
            ProxyError: a batch or a model that this proxy cannot measure.
            ModelError: the model fails on the batch.
        """
        inputs, labels = split(batch)
        with random_state_kept(module), torch.enable_grad():
            torch.manual_seed(self.seed)
            copy = copy_model(module)
            device = next((p.device for p in copy.parameters()), inputs.device)
            value = self.measure(copy, inputs.to(device), None if labels is None else labels.to(device))
        return value if math.isfinite(value) else self.worst

    @abstractmethod
    def measure(self, module: nn.Module, inputs: Tensor, labels: Tensor | None) -> float:
        """The score of a module that may be changed at will, on its device, under this proxy's seed."""


def split(batch: Batch) -> tuple[Tensor, Tensor | None]:
    """Inputs and labels of a batch.

    Raises:
        ProxyError: no tensor, no row, values that are not finite, or labels of another length.
    """
    inputs, labels = (batch, None) if isinstance(batch, Tensor) else (*batch, None)[:2]
    if not isinstance(inputs, Tensor):
        raise ProxyError(f"the batch is a {type(inputs).__name__}: give a tensor, or (inputs, labels)")
    if inputs.ndim < 2 or not inputs.numel():
        raise ProxyError(f"the batch has shape {size_text(inputs.shape)}: give batch x channels x size, not one input")
    if not inputs.isfinite().all():
        raise ProxyError("the batch holds values that are not finite: remove or replace them")
    if labels is not None and len(labels) != len(inputs):
        raise ProxyError(f"{len(labels)} labels for {len(inputs)} inputs: give one label an input")
    return inputs, labels
