"""Gated, a model with gates on its channels in training: gradual pruning to a budget in one training."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from dashfx.config.search import SearchConfig
from dashfx.ops.gates import ChannelGates, Gate
from dashfx.passes.narrow import Channels, along
from dashfx.passes.narrow.parts import fold
from dashfx.strategies.widths.costs import WidthCost, leaving
from dashfx.task import Task
from dashfx.train.fit import Batch, Learner
from dashfx.train.progress import Epoch
from dashfx.train.recipe import make_optimiser

UNTIL = 0.6  # the share of training by which all channels have left that leave
PRUNINGS = 20  # in that time
HELD = "_channel_gates"  # the gates in the model, while it is trained


@dataclass(frozen=True)
class Pruned:
    """What an epoch of gradual pruning has come to: a point of the front of quality over cost.

    Attributes:
        cost: of the first budget.
        widths: group -> channels that are left.
    """

    epoch: int
    cost: float
    valid: float
    widths: Mapping[str, int]


class Gated(Learner):
    """Trains weights and gates on one loss, and takes channels away until all budgets are held.

    The cost that is allowed falls by equal factors from the whole model's to the budget's over the first part of the
    training; at every pruning those channels leave whose worth is the least for what they cost.

    Args:
        model: a plain model; it is changed in place.
        least: the share of its channels that each group keeps.

    Attributes:
        log: the state after each epoch, from the whole model on.
    """

    keeps_best = False  # the model goes on from its last epoch, the only one that is as narrow

    def __init__(
        self,
        model: nn.Module,
        channels: Channels,
        costs: Sequence[WidthCost],
        gate: Gate,
        task: Task,
        config: SearchConfig,
        accelerator: Any,
        least: float = 0.1,
    ) -> None:
        self.task, self.config, self.accelerator = task, config, accelerator
        self.channels, self.costs, self._least = channels, costs, least
        self.gate = copy.deepcopy(gate)
        self.gates = ChannelGates({group.name: group.units for group in channels.groups}, self.gate)
        weights = [p for p in model.parameters() if p.requires_grad]
        model.add_module(HELD, self.gates)
        self._hooks = [
            model.get_submodule(part.name).register_forward_pre_hook(_Gating(self.gates, part.ins, part.axis))
            for part in channels.readers
        ]
        self.model = model.to(accelerator.device)
        self._weights = weights
        self._optimiser = accelerator.prepare_optimizer(make_optimiser(weights, config))
        self._alphas = [mixture.alpha for mixture in self.gates.mixtures]
        rate = config.alpha_lr if self.gate.learns else 0.0
        self._alpha_optimiser = accelerator.prepare_optimizer(torch.optim.Adam(self._alphas, lr=rate))
        self._whole = [float(cost.total(torch.ones(channels.count))) for cost in costs]
        self._done = 0
        self.log: list[Pruned] = []

    @property
    def optimisers(self) -> Mapping[str, torch.optim.Optimizer]:
        return {"weights": self._optimiser, "gates": self._alpha_optimiser}

    # ---- the fit loop ---------------------------------------------------------------------------------------------

    def step(self, batch: Batch) -> Tensor:
        for optimiser in self.optimisers.values():
            optimiser.zero_grad()
        self.gates.given = values = self.gates()
        loss = self.loss(batch)
        for cost, whole in zip(self.costs, self._whole, strict=True):
            each = (cost.each(self.gates.mask.cpu()) / whole).to(values)
            on = (values > 0).to(values.dtype)
            price = (cost.total(on.cpu()).to(values) / whole) + (each * (values - values.detach())).sum()
            share = max(cost.most / whole, self._allowed(cost, whole, self._done / PRUNINGS))
            loss = loss + self.gate.penalty(values, each, price, share)
        self.gates.given = None
        self.descend(loss, self._optimiser, self._weights)
        for mixture in self.gates.mixtures:
            mixture.look()
        if self.gate.learns:
            self._alpha_optimiser.step()
        return loss.detach()

    def begin_step(self, progress: float) -> None:
        """The prunings that are due: none before anything was seen."""
        due = min(PRUNINGS, int(progress / UNTIL * PRUNINGS))
        if due > self._done:
            self._prune(due)

    def finished(self, epoch: int, history: Sequence[Epoch] = ()) -> str | None:
        if epoch + 1 == self.config.epochs and self._done < PRUNINGS:
            self._prune(PRUNINGS)
        left = {group.name: int(mixture.mask.sum()) for group, mixture in self._pairs()}
        cost = float(self.costs[0].total(self.gates.mask.cpu()))
        self.log.append(Pruned(epoch, cost, history[-1].metric if history else float("nan"), left))
        return None

    def decisions(self) -> Iterable[Tensor]:
        return (mixture.mask for mixture in self.gates.mixtures)

    def state_dict(self) -> dict[str, Any]:
        more = {"done": self._done, "gate": self.gate.state_dict(), "log": [asdict(each) for each in self.log]}
        return super().state_dict() | more

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self._done, self.log = int(state["done"]), [Pruned(**each) for each in state["log"]]
        self.gate.load_state_dict(state["gate"])

    # ---- pruning --------------------------------------------------------------------------------------------------

    def _prune(self, due: int) -> None:
        mask, worth = self.gates.mask.cpu(), self.gates.joined([m.worth() for m in self.gates.mixtures]).cpu()
        below = getattr(self.gate, "below", None)
        if self.gate.learns:  # logits of any sign become worths from 0 up
            worth = worth - worth[mask].min() if below is None else worth
        groups, gone = [group.units for group in self.channels.groups], list[int]()
        for cost, whole in zip(self.costs, self._whole, strict=True):
            now = mask.clone()
            now[gone] = False
            gone += leaving(worth, now, groups, cost, self._allowed(cost, whole, due / PRUNINGS), self._least)
        small = [] if below is None else [unit for unit in (mask & (worth < below)).nonzero().flatten().tolist()]
        self.gate.after_pruning(len(small), max(1, len(gone)))
        self.gates.close(gone)
        self._done = due
        for mixture in self.gates.mixtures:
            mixture.forget()

    @staticmethod
    def _allowed(cost: WidthCost, whole: float, share: float) -> float:
        """Of a cost, when a share of the prunings is done."""
        return whole * (min(1.0, cost.most / whole)) ** min(1.0, share)

    def _pairs(self) -> Iterable[tuple[Any, Any]]:
        return zip(self.channels.groups, self.gates.mixtures, strict=True)

    @torch.no_grad()
    def released(self) -> tuple[nn.Module, dict[str, list[int]]]:
        """The model without gates, whose values its weights have taken over, and the places of channels that stay."""
        values = self.gates().detach()
        for hook in self._hooks:
            hook.remove()
        model = self.plain
        for part in self.channels.readers:
            fold(model, part, torch.where(values > 0, values, torch.ones_like(values)))
        del model._modules[HELD]
        kept = {group.name: mixture.mask.nonzero().flatten().tolist() for group, mixture in self._pairs()}
        sizes = {group.name: len(group.units) for group in self.channels.groups}
        return model.cpu(), {name: places for name, places in kept.items() if len(places) < sizes[name]}


class _Gating:
    """Multiplies what a module reads with the gates of its channels; those that stay have none."""

    def __init__(self, gates: ChannelGates, units: Sequence[int], axis: int) -> None:
        self._gates, self._axis = gates, axis
        self._units = torch.tensor(units)

    def __call__(self, module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        x, *rest = args
        self._units = self._units.to(x.device)
        values = torch.cat([self._gates(), torch.ones(1, device=x.device)])[self._units].to(x.dtype)
        return (x * along(values, x, self._axis), *rest)
