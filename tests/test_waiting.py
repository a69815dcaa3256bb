"""Training steps ask the device for no number: on a GPU the host would wait for it.

A number that Python takes from a tensor is the operator `aten._local_scalar_dense`, and shapes that depend on values
come from `nonzero` and its like, or from a mask in the place of an index; both are seen on a CPU as well.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from toys import ToyNet, toy_data

from dashfx import SearchSpace, rewrite
from dashfx.config.run import RetrainConfig
from dashfx.config.search import SearchConfig
from dashfx.strategies.gradient import DASH, Gradient
from dashfx.strategies.updates import FirstOrder
from dashfx.task import load_task
from dashfx.train.fit import Learner, Supervised, make_accelerator

DATA = toy_data()
TASK = load_task(None, DATA)
# Adam asks for its count of steps, which is on the CPU wherever the weights are, so these steps are by SGD.
OPTIONS = SearchConfig(optimizer="sgd", alpha_optimizer="sgd", clip=1.0, cost_weight=0.1, batch_size=4)
ASKING = ("_local_scalar_dense", "nonzero", "unique", "masked_select", "is_nonzero", "equal")


class Asked(TorchDispatchMode):
    """Keeps the names of operators that wait."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.name().removeprefix("aten::").partition(".")[0]
        by_mask = name == "index" and any(i is not None and i.dtype == torch.bool for i in args[1])
        self.names += [name] if name in ASKING or by_mask else []
        return func(*args, **(kwargs or {}))


def asked(call: Callable[[], object]) -> list[str]:
    with Asked() as found:
        call()
    return found.names


def search_by(strategy: Gradient) -> Learner:
    x, _ = next(iter(DATA.loader("train", 2)))
    supernet = rewrite(ToyNet(), x, SearchSpace.product([3, 5], [1, 2]), "fresh")
    engine = strategy.engine(supernet, TASK, OPTIONS, make_accelerator("cpu"))
    engine.training_data(DATA)
    return engine


@pytest.mark.parametrize(
    "make",
    [
        lambda: Supervised(ToyNet(), TASK, RetrainConfig(optimizer="sgd", clip=1.0, ema=0.9), make_accelerator("cpu")),
        lambda: search_by(DASH),
        lambda: search_by(Gradient(update=FirstOrder())),
    ],
    ids=["retraining", "search", "search on held-out rows"],
)
def test_a_step_asks_for_no_number(make: Callable[[], Learner]) -> None:
    learner = make()
    learner.begin_epoch(0, 0)
    learner.train_mode()
    batch = next(iter(DATA.loader("train", 16)))
    learner.step(batch)  # the first step fills caches
    learner.begin_step(0.5)
    assert asked(lambda: learner.step(batch)) == []


def test_what_asks_is_seen() -> None:
    x = torch.arange(3.0)

    def branch(y: Tensor) -> float:
        return 1.0 if y.sum() > 2 else 0.0

    assert asked(lambda: branch(x)) and asked(lambda: x[x > 1]) and asked(lambda: x.sum().item())
    assert asked(lambda: x.sum()) == []
