"""Exponential moving average of a model's weights, to be judged in their place.

Polyak averaging with an exponential window. Early on, where a long window would still hold the initial weights, the
decay is (1 + t) / (10 + t) at step t, if that is smaller.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from accelerate.utils import broadcast
from torch import nn


class Average:
    """The average of everything that a model's `state_dict` holds; what is no float is taken as it is.

    Batch-norm statistics are averaged as the weights are, for they belong to them.

    Args:
        decay: what a step keeps of the average, such as 0.999.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._decay, self._steps = decay, 0
        self._state = {name: value.detach().clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take up the weights after a step."""
        self._steps += 1
        decay = min(self._decay, (1 + self._steps) / (10 + self._steps))
        now = model.state_dict()
        floats = [name for name, value in now.items() if value.is_floating_point()]
        torch._foreach_lerp_([self._state[name] for name in floats], [now[name] for name in floats], 1 - decay)
        for name in now.keys() - set(floats):
            self._state[name].copy_(now[name])

    @contextmanager
    def in_place_of(self, model: nn.Module) -> Iterator[None]:
        """Inside, the model has the average; its own weights come back afterwards.

        Of several processes, all take the first one's: batch-norm statistics are each process's own.
        """
        own = {name: value.detach().clone() for name, value in model.state_dict().items()}
        self._state = dict(broadcast(self._state))
        model.load_state_dict(self._state)
        try:
            yield
        finally:
            model.load_state_dict(own)

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self._steps, "state": self._state}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._steps = state["steps"]
        for name, value in self._state.items():
            value.copy_(state["state"][name])
