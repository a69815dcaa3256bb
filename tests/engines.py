"""Search engines on toys, and what tests ask of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from toys import SIZE, ToyNet, toy_data

import dashfx
from dashfx import SearchSpace
from dashfx.config.run import RunConfig
from dashfx.config.search import SearchConfig
from dashfx.cost.budgets import limits_of, read_budgets
from dashfx.ops import sites_of
from dashfx.strategies.engine import Engine
from dashfx.strategies.named import training_of
from dashfx.task import load_task
from dashfx.train.fit import make_accelerator
from dashfx.train.progress import Epoch, Observer

DATA = toy_data()
TASK = load_task(None, DATA)
BATCH = DATA.train.__getitems__(range(16))
X = torch.zeros(2, 2, SIZE)


def engine(init: str = "fresh", budgets: Sequence[str] = (), family: str = "dense", **options: Any) -> Engine:
    """The engine of a ToyNet with 4 candidates a site, as the first epoch begins."""
    config = SearchConfig.parse({"epochs": 10, "batch_size": 16, **options})
    torch.manual_seed(0)
    supernet = dashfx.rewrite(ToyNet(dropout=0.0), X, SearchSpace.product([3, 5], [1, 2], families=[family]), init)
    parts = training_of(RunConfig(search=config))
    program = dashfx.trace(ToyNet(dropout=0.0), X)
    limits = limits_of(read_budgets(budgets), program, {name: s.candidates for name, s in sites_of(supernet).items()})
    made = parts.engine(supernet, TASK, config, make_accelerator("cpu"), limits if budgets else None)
    made.begin_epoch(0, 1)
    made.model.train()
    return made


def alphas(made: Engine) -> list[Tensor]:
    return [alpha.detach().clone() for alpha in made.alphas]


def weights(made: Engine) -> list[Tensor]:
    return [weight.detach().clone() for weight in [*made.weights, *made.rest]]


def moved(before: list[Tensor], after: list[Tensor]) -> list[bool]:
    return [not torch.equal(a, b) for a, b in zip(before, after, strict=True)]


def state(made: Engine) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in made.model.state_dict().items()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


class Interrupt(Observer):
    """Stops after so many epochs, as Ctrl-C would."""

    def __init__(self, after: int) -> None:
        self._after = after

    def epoch(self, facts: Epoch) -> None:
        if facts.epoch + 1 == self._after:
            raise KeyboardInterrupt
