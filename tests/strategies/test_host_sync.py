"""A search step never waits for the device: no value of a tensor is read by Python between forward and clipping."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch.utils._python_dispatch import TorchDispatchMode
from toys import SIZE, ToyNet, toy_data

import dashfx
from dashfx import SearchSpace
from dashfx.config.search import SearchConfig
from dashfx.ops.algorithms import ALGORITHMS
from dashfx.strategies.engine import Engine
from dashfx.strategies.updates import OneLevel
from dashfx.task import load_task

# What makes a GPU's host wait: reading a number, or a result whose shape depends on values.
WAITING = {"_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "equal", "unique_dim", "_unique2"}


class Waits(TorchDispatchMode):
    """Notes every operation that would make the host wait."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if name in WAITING:
            self.seen.append(name)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("init", ["grow", "fresh"])
def test_a_step_reads_no_values(algorithm: str, init: str) -> None:
    x = torch.randn(4, 2, SIZE)
    space = SearchSpace.product([3, 5], [1, 2])
    supernet = dashfx.rewrite(ToyNet(), x, space, init=init, algorithm=algorithm)
    task = load_task("classify", toy_data())
    engine = Engine(supernet, task, SearchConfig(), Accelerator(cpu=True), OneLevel())
    engine.begin_epoch(20, seed=0)
    supernet.train()
    with Waits() as waits:
        loss = engine.loss((x, torch.tensor([0, 1, 2, 0])))
        engine.accelerator.backward(loss)
        engine.accelerator.clip_grad_norm_(engine.weights, 1.0)
    assert waits.seen == [] and engine.warm
    with Waits() as waits:
        float(loss.detach())
    assert waits.seen == ["_local_scalar_dense"]
