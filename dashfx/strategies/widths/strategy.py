"""Narrowing, the strategy: widths under budgets, behind the model's own kernels or those of another search."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch

from dashfx.config.run import RunConfig
from dashfx.cost.budgets import Limits
from dashfx.errors import ConfigError
from dashfx.frontend.tracing import Program, trace
from dashfx.genotype import Genotype
from dashfx.ops.gates import Gate, Taylor
from dashfx.options.width import Width, placed
from dashfx.passes.narrow import Channels, channels_of, narrowed
from dashfx.plugins import Share, find
from dashfx.strategies.base import Context, Evaluator, Strategy, Training
from dashfx.strategies.widths.costs import WidthCost
from dashfx.strategies.widths.gated import Gated, Pruned

STAGE = "widths"


@dataclass(frozen=True)
class Narrowing(Strategy):
    """How many channels each layer keeps, under budgets of multiply-adds and parameters: gates and gradual pruning.

    A gated model is trained for `search.epochs`, from the checkpoint where there is one, and its channels leave on the
    way. Without an inner strategy every conv keeps its own kernel; else that one chooses kernels first, and widths make
    the chosen model hold the budgets.

    Args:
        gate: taylor, trainable or sigmoid.
        least: the share of its channels that each layer keeps.
        inner: who chooses kernels; None leaves them.
    """

    gate: Any = field(default_factory=Taylor)
    least: Share = 0.1
    inner: Any = field(default=None, repr=False)
    narrows: ClassVar[bool] = True
    paper: ClassVar[str] = "Molchanov et al., Importance Estimation for Neural Network Pruning, CVPR 2019"

    @property
    def training(self) -> Training | None:
        return self.inner.training if self.inner else None

    @property
    def judges_mixtures(self) -> bool:  # type: ignore[override]
        return self.inner is not None and self.inner.judges_mixtures

    @property
    def evaluator(self) -> Evaluator | None:  # type: ignore[override]
        return self.inner.evaluator if self.inner else None

    def plan(self, config: RunConfig) -> str:
        return self.inner.plan(config) if self.inner else f"own kernels, widths in {config.search.epochs} epochs"

    def check(self, config: RunConfig) -> None:
        if not config.search.budgets:
            raise ConfigError(
                "widths are chosen under a budget, and there is none: give --max macs=0.5x or params=0.5x"
            )
        names = [text.partition("=")[0].strip() for text in config.search.budgets]
        for name, text in zip(names, config.search.budgets, strict=True):
            if not WidthCost.takes(find("cost", name)):
                raise ConfigError(f"budget {text!r}: widths are chosen under macs and params; give --max macs=0.5x")
        if config.export.int8:
            raise ConfigError("--int8 chooses kernels by budgets of the int8 file, which widths do not know: leave it")
        if config.search.pareto:
            raise ConfigError("--pareto shows choices of kernels, which --widths narrows one of: leave it")
        if config.search.seeds > 1:
            raise ConfigError("search.seeds repeats a search of kernels; widths are searched once: leave it")
        if self.inner is not None:
            training = self.inner.training
            if training is not None and (
                training.update.needs_budgets or "frank-wolfe" in config.search.alpha_optimizer
            ):
                raise ConfigError("with --widths the widths hold the budgets: leave updates that keep to them out")
            self.inner.check(config)

    def search(self, context: Context) -> Genotype:
        if context.accelerator.num_processes > 1:
            raise ConfigError("--widths trains in one process: start it without torchrun")
        kernels = self._kernels(context)
        context.turn_to(STAGE, f"{context.config.search.epochs} epochs")
        plain = context.start_of(kernels)
        example, _ = context.data.train.__getitems__([0, 1])
        program = trace(plain, example)
        channels = channels_of(program)
        check_groups(channels)
        gate: Gate = find("gate", self.gate)
        costs = costs_of(channels, program, context.limits)
        model = program.model
        gated = Gated(
            model, channels, costs, gate, context.task, context.config.search, context.accelerator, self.least
        )
        context.train(gated, STAGE)
        trained, places = gated.released()
        sizes = {group.name: len(group.units) for group in channels.groups}
        widths = {name: Width(sizes[name], tuple(left)) for name, left in places.items()}
        genotype = replace(
            kernels, others={**kernels.others, **placed(widths)}, rule=f"widths by {type(gate).__name__.lower()}"
        )
        context.keep_model(genotype, narrowed(trained, example, places))
        for line in said(gated.log, channels, costs[0]):
            context.note(line)
        return genotype

    def _kernels(self, context: Context) -> Genotype:
        if self.inner is None:
            return Genotype({name: site.facts.original for name, site in context.sites.items()}, "own kernels")
        found: Genotype = self.inner.search(Unlimited(context))
        return found


class Unlimited:
    """A context without limits, for who chooses kernels that need not hold them."""

    def __init__(self, context: Context) -> None:
        self._context = context

    @property
    def limits(self) -> Limits | None:
        return None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)


def check_groups(channels: Channels) -> None:
    """Whether any channel may leave.

    Raises:
        ConfigError: none may, with the first reasons.
    """
    if not channels.groups:
        reasons = "; ".join(f"{skip.name or 'the model'}: {skip.reason}" for skip in channels.skips[:3])
        raise ConfigError(f"no channels of the model can leave ({reasons}): search without --widths")


def costs_of(channels: Channels, program: Program, limits: Limits | None) -> list[WidthCost]:
    """The budgets as functions of widths.

    Raises:
        ConfigError: one that no widths can hold.
    """
    assert limits is not None
    found = []
    for limit in limits.each:
        cost = WidthCost.of(channels, program, limit.budget.cost, limit.most, limit.budget.text)
        fewest = torch.zeros(channels.count)
        for group in channels.groups:
            fewest[group.units[0]] = 1
        if (least := float(cost.total(fewest))) > limit.most:
            say = limit.budget.cost.say
            raise ConfigError(
                f"budget {limit.budget.text}: the least that widths can have is {say(least)}, the limit is "
                f"{say(limit.most)}; allow more, or search kernels too"
            )
        found.append(cost)
    return found


def said(log: list[Pruned], channels: Channels, cost: WidthCost) -> list[str]:
    """What a user should know of the pruning: the front on the way, and what stayed and why."""
    points = "; ".join(f"{each.cost:.4g} at {each.valid:.4g}" for each in log[:: max(1, len(log) // 8)])
    stays = [skip for skip in channels.skips if skip.name]
    some = "; ".join(f"{skip.name}: {skip.reason}" for skip in stays[:3])
    more = f" and {len(stays) - 3} more" if len(stays) > 3 else ""
    lines = [f"widths on the way, {cost.text.partition('=')[0]} at validation: {points}"]
    return lines + ([f"widths that stay: {some}{more}"] if stays else [])
