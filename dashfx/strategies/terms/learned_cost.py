"""Penalty on a learned cost: a small network tells what mixtures cost, fitted to models that were measured as a whole.

Xu et al., "Latency-Aware Differentiable Neural Architecture Search", 2020.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from dashfx.blackbox.genomes import GenotypeSpace
from dashfx.errors import ConfigError
from dashfx.ops.ties import alive
from dashfx.plugins import Count, name_of
from dashfx.space import Candidate
from dashfx.strategies.expected import Expected
from dashfx.strategies.terms.base import Moment, Term

if TYPE_CHECKING:
    from dashfx.strategies.engine import Engine

logger = logging.getLogger(__name__)
HELD_OUT = 0.2  # of the measured networks, by which the fit is judged
STEPS, RATE, DECAY = 400, 0.02, 1e-3  # of the fit; ours
Place = tuple[str, Candidate]


@dataclass
class LearnedCost(Term):
    """weight * E / E_untouched with E(coefficients) from a network: loss + lambda lat(alpha), as in the paper.

    E is a linear map of all sites' coefficients plus a hidden layer. It is fitted once, to random choices, and frozen;
    where it tells the held-out fifth of them no better than sums of the table do, E is the sum.

    Args:
        cost: one that a budget limits, which says how whole models are measured.
        networks: how many choices are measured; the paper has thousands.
        hidden: units.
    """

    cost: str = "latency"
    weight: float = 0.2
    networks: Count = 200
    hidden: Count = 32
    paper: ClassVar[str] = "Xu et al., Latency-Aware Differentiable Neural Architecture Search, 2020"
    row: ClassVar[str] = "12"
    expected: Expected | None = field(default=None, init=False, repr=False, compare=False)
    network: nn.Module | None = field(default=None, init=False, repr=False, compare=False)
    places: list[Place] = field(default_factory=list, init=False, repr=False, compare=False)

    def begin(self, engine: Engine) -> None:
        limits = engine.limits.each if engine.limits else ()
        found = [i for i, each in enumerate(limits) if name_of("cost", each.budget.cost) == self.cost]
        if not found or engine.limits is None:
            raise ConfigError(f"term learned-cost needs a budget of {self.cost}, which says how it is measured: --max")
        self.expected = Expected.of_limit(limits[found[0]], engine.sites)
        if not self.places:  # later, when candidates leave, the network knows them still
            self.places = [(name, c) for name, site in engine.sites.items() for c in alive(site)]
            self.network = self._fitted(engine, found[0])

    def __call__(self, now: Moment) -> Tensor:
        assert self.expected is not None  # `begin` comes first
        if self.network is None:
            return self.expected(now.coef) / self.expected.untouched
        rows: dict[Place, Tensor] = {}
        for name, site in now.engine.sites.items():
            rows |= {(name, c): value for c, value in zip(site.candidates, now.coef[name], strict=True)}
        zero = next(iter(now.coef.values())).new_zeros(())
        found: Tensor = self.network(torch.stack([rows.get(place, zero) for place in self.places]))
        return found.squeeze(-1)

    def _fitted(self, engine: Engine, number: int) -> nn.Module | None:
        """The network, in shares of the untouched model's cost; None where sums are as good."""
        assert engine.limits is not None and self.expected is not None
        limits, generator = engine.limits, torch.Generator().manual_seed(0)
        limit, space = limits.each[number], GenotypeSpace.of(engine.sites)
        drawn = list(dict.fromkeys(space.sample(generator) for _ in range(self.networks)))
        measure = limits.measure or (lambda choice: [each.total(choice) for each in limits.each])
        x = torch.stack([encoded(each, self.places) for each in drawn])
        y = torch.tensor([measure(each)[number] / limit.whole for each in drawn])
        sums = torch.tensor([limit.total(each) / limit.whole for each in drawn])
        held = max(1, round(HELD_OUT * len(drawn)))
        network = fitted(x[held:], y[held:], self.hidden)
        with torch.no_grad():
            told = network(x[:held])[:, 0]
        errors = [float(((each - y[:held]) / y[:held]).abs().median()) for each in (told, sums[:held])]
        used = errors[0] < errors[1]
        logger.info("learned cost: median error %.3f, of sums %.3f; used: %s", *errors, used)
        return network.to(engine.alphas[0]).requires_grad_(False) if used else None


class Cost(nn.Module):
    """y = a linear map + one hidden layer."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.linear, last = nn.Linear(inputs, 1), nn.Linear(hidden, 1)
        nn.init.zeros_(last.weight)  # what is additive needs none of it
        self.deep = nn.Sequential(nn.Linear(inputs, hidden), nn.Tanh(), last)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.linear(x) + self.deep(x)
        return found


def fitted(x: Tensor, y: Tensor, hidden: int) -> nn.Module:
    """The network of the least mean square error; the same at every call, and the global generator stays.

    Args:
        x: (n, places), ones where a choice is made.
        y: (n,).
    """
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(0)
        network = Cost(x.shape[1], hidden)
        optimiser = torch.optim.AdamW(network.parameters(), RATE, weight_decay=DECAY)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS)
        for _ in range(STEPS):
            optimiser.zero_grad()
            nn.functional.mse_loss(network(x)[:, 0], y).backward()
            optimiser.step()
            schedule.step()
    return network


def encoded(choice: Mapping[str, Candidate], places: Sequence[Place]) -> Tensor:
    """(places,): ones where a choice is made."""
    return torch.tensor([float(choice[name] == candidate) for name, candidate in places])
