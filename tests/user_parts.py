"""One plug-in of each kind, as a user would write them in a file of theirs; those that can remember something do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from dashfx.blackbox.base import Asking, Optimiser, Proposal, Row
from dashfx.cost.base import CostModel
from dashfx.genotype import Genotype
from dashfx.ops import AggConv
from dashfx.ops.relaxations import SoftGumbel
from dashfx.strategies.base import Evaluating, Evaluator
from dashfx.strategies.edits import SiteEdit
from dashfx.strategies.engine import Engine
from dashfx.strategies.monitors import Action, Context, Monitor, Set
from dashfx.strategies.rules import SelectionRule
from dashfx.strategies.terms import Moment, Term
from dashfx.strategies.updates import Update


@dataclass
class Counter:
    """What has a number that its behaviour depends on."""

    count: int = field(default=0, init=False)

    def state_dict(self) -> dict[str, Any]:
        return {"count": self.count}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.count = state["count"]


@dataclass
class Warming(Counter, SoftGumbel):
    """Warmer after every step."""

    def after_step(self, engine: Engine) -> None:
        self.count += 1

    @property
    def temperature(self) -> float:
        return 1 + self.count / 10


@dataclass
class Sparing(Counter, Update):
    """Architecture parameters move at every second step."""

    def step(self, engine: Engine, train_batch: Any, valid_batch: Any) -> Tensor:
        self.count += 1
        engine.zero_grad()
        loss = engine.loss(train_batch)
        engine.step_weights(loss)
        if self.count % 2:
            engine.step_alphas()
        return loss.detach()


@dataclass
class Turns(Counter, SelectionRule):
    """Another place at every look."""

    name: ClassVar[str] = "turns"

    def select(self, sites: Mapping[str, AggConv]) -> Genotype:
        self.count += 1
        return Genotype({n: s.candidates[self.count % len(s.candidates)] for n, s in sites.items()}, self.name)


@dataclass
class Slowing(Counter, Monitor):
    """A lower rate after every epoch."""

    start: float = 0.1

    def on_epoch(self, ctx: Context) -> Sequence[Action]:
        assert ctx.engine is not None and len(ctx.history) == ctx.epoch + 1
        self.count += 1
        return [Set("alpha_lr", self.start / (1 + self.count))]


@dataclass
class Small(Counter, Term):
    """Small outputs, more so after every epoch."""

    weight: float = 0.1

    def __call__(self, now: Moment) -> Tensor:
        return (1 + self.count) * now.output.square().mean()

    def after_epoch(self, engine: Engine) -> None:
        self.count += 1


@dataclass(frozen=True)
class First(SiteEdit):
    """Only so many candidates a site."""

    most: int = 3

    def apply(self, sites: Mapping[str, AggConv]) -> str:
        for site in sites.values():
            site.keep(range(self.most))
        return f"first: {self.most} candidates a site"


@dataclass(frozen=True)
class Kernel(CostModel):
    """The number of taps, as it is."""

    unit: ClassVar[str] = "taps"

    def of(self, aggconv: AggConv) -> list[float]:
        return [float(c.taps) for c in aggconv.candidates]


@dataclass(frozen=True)
class Narrow(Evaluator):
    """Small kernels."""

    name: ClassVar[str] = "narrow"

    def begin(self, context: Any, engine: Engine | None = None) -> Evaluating:
        original = Genotype({name: site.original for name, site in context.sites.items()})
        assert not any(name.endswith("alpha") for name in context.model_of(original).state_dict())
        return Widths()


class Widths(Evaluating):
    maximise = False

    def value(self, genotype: Genotype) -> float:
        return float(sum(choice.taps for choice in genotype.values()))


@dataclass(frozen=True)
class Greedy(Optimiser):
    """Mutates the best so far."""

    def begin(self, space: Any, generator: torch.Generator, start: Sequence[Row[Any]] = ()) -> Asking[Any]:
        return Best(space, generator)


class Best(Asking[Any]):
    def __init__(self, space: Any, generator: torch.Generator) -> None:
        self.space, self.generator, self.best = space, generator, None

    def ask(self, n: int) -> list[Proposal[Any]]:
        if self.best is None:
            return [Proposal(self.space.sample(self.generator)) for _ in range(n)]
        return [Proposal(self.space.mutate(self.best.genome, self.generator), self.best.number) for _ in range(n)]

    def tell(self, rows: Sequence[Row[Any]]) -> None:
        self.best = max([*([self.best] if self.best else []), *rows], key=lambda row: row.fitness)


def falling(progress: float, config: Any, *, floor: float = 0.1) -> float:
    return max(floor, 1 - progress)


def plain_sgd(groups: list[dict[str, Any]], config: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(groups, lr=config.lr)


def heavy(alphas: list[Any], config: Any, *, momentum: float = 0.5) -> torch.optim.Optimizer:
    return torch.optim.SGD(alphas, config.alpha_lr, momentum=momentum)
