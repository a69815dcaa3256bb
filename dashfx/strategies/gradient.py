"""Gradient strategies: mixtures are trained and one candidate a site is read from them. DASH is one of them.

Shen, Khodak and Talwalkar, "Efficient Architecture Search for Diverse Tasks", NeurIPS 2022: soft-Gumbel mixtures, one
backward pass for weights and architecture parameters, the largest coefficient.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from accelerate import Accelerator
from torch import nn

from dashfx.blackbox.optimisers.random import RandomSearch
from dashfx.config.run import RunConfig
from dashfx.config.search import SearchConfig
from dashfx.cost.budgets import Limits
from dashfx.errors import ConfigError
from dashfx.genotype import Genotype
from dashfx.ops import decisions_of, drop_residuals
from dashfx.ops.relaxations import Relaxation, SoftGumbel
from dashfx.plugins import split
from dashfx.strategies.base import Context, Strategy, evaluator_of
from dashfx.strategies.edits import Edit
from dashfx.strategies.engine import Engine
from dashfx.strategies.evaluated.blackbox import evaluated
from dashfx.strategies.judge import Judge
from dashfx.strategies.monitors import Monitor
from dashfx.strategies.one_by_one import STAGE, OneByOne, undecided
from dashfx.strategies.rules import Argmax, SelectionRule
from dashfx.strategies.start.warmstart import favour_original, marginal_logits
from dashfx.strategies.terms import Term
from dashfx.strategies.updates import OF_SIMPLEX, OneLevel, Update
from dashfx.task import Task
from dashfx.train.processes import forget


@dataclass(frozen=True)
class Gradient(Strategy):
    """Mixtures are trained; the options of `search` say for how long and at which rates.

    Each search works on copies of these parts. `search.patience`, `search.shrink`, `search.cost` and
    `search.cost_weight` add the monitors and the term that they are short for.

    Args:
        relaxation: how logits become coefficients.
        update: how weights and architecture parameters share a step.
        rule: how a candidate is read from a trained mixture.
        edits: what is done to the candidates first, in this order.
    """

    relaxation: Relaxation = field(default_factory=SoftGumbel)
    update: Update = field(default_factory=OneLevel)
    rule: SelectionRule = field(default_factory=Argmax)
    monitors: tuple[Monitor, ...] = ()
    terms: tuple[Term, ...] = ()
    edits: tuple[Edit, ...] = ()
    judges_mixtures: ClassVar[bool] = True

    @property
    def training(self) -> Gradient:
        return self

    @property
    def holds_out(self) -> bool:
        """Whether a part of it looks at a share of the training part that the weights never see."""
        watched = any(monitor.uses_held_out for monitor in self.monitors)
        return self.update.uses_held_out or self.rule.judged or watched

    def plan(self, config: RunConfig) -> str:
        return f"{config.search.strategy}, {config.search.epochs} epochs"

    def check(self, config: RunConfig) -> None:
        if config.search.discretise == "one-by-one" and not self.relaxation.simplex:
            raise ConfigError(
                "search.discretise=one-by-one asks which mixture is the most certain, and the coefficients of "
                f"{type(self.relaxation).__name__} do not add up to 1; use at-once"
            )
        if not self.update.moves_mixtures:
            raise ConfigError(
                f"update {type(self.update).__name__} leaves mixtures as they are, so that nothing can be read from "
                "them; use it with --strategy evolution --evaluator supernet"
            )
        self._check_alphas(config.search)

    def _check_alphas(self, search: SearchConfig) -> None:
        """Whether what is learned and how it moves fit together."""
        name = split("alpha optimiser", search.alpha_optimizer)[0]
        if (name in OF_SIMPLEX) == self.relaxation.logits:
            raise ConfigError(
                f"search.alpha_optimizer={search.alpha_optimizer} does not fit {type(self.relaxation).__name__}: "
                f"{' and '.join(OF_SIMPLEX)} move coefficients, the others logits; take relaxation=simplex with one of "
                "them"
            )
        if name == "frank-wolfe" and search.tie != "none":
            raise ConfigError("search.alpha_optimizer=frank-wolfe moves each site alone: leave search.tie")
        if name == "frank-wolfe" and not search.budgets:
            raise ConfigError("search.alpha_optimizer=frank-wolfe keeps to budgets, and there are none: give --max")
        if self.update.needs_budgets and not search.budgets:
            raise ConfigError(f"search.update={search.update} keeps to budgets, and there are none: give --max")
        if not self.relaxation.logits and (search.warm_start or search.lead):
            raise ConfigError(
                "search.warm_start and search.lead set logits, and relaxation=simplex has none; leave them"
            )

    def search(self, context: Context) -> Genotype:
        """What the rule reads from trained mixtures: all sites at once, or one by one with training in between."""
        engine, rule = self.train(context, favoured=True), copy.deepcopy(self.rule)
        judge = Judge(engine, context.data) if rule.judged else None
        if context.config.search.discretise == "one-by-one":
            context.turn_to(STAGE, f"one of {len(decisions_of(context.sites))} sites at a time")
            if undecided(engine.sites):
                learner = OneByOne(engine, rule, judge, context.limits)
                context.train(learner, STAGE)
                rule = learner.rule
        genotype = rule.within(context.sites, context.limits, judge)
        check_alike(context, genotype, rule)
        if judge:
            context.note(f"rule {rule.name} looked {judge.looks} times at the loss on {judge.rows} held-out rows")
        forget(engine.accelerator, engine.optimisers.values())  # what follows trains other models
        return genotype

    def train(self, context: Context, favoured: bool = False) -> Engine:
        """Weights and architecture parameters of the supernet, trained together.

        Args:
            favoured: mixtures start from what is known before: a proxy's word, or that a grown conv's own kernel works.
        """
        self._edit(context)
        if favoured:
            favour(context)
        search, limits = context.config.search, context.limits
        engine = self.engine(context.supernet, context.task, search, context.accelerator, limits)
        context.take_algorithms()
        fitted = context.train(engine, "search")
        if fitted.stopped:
            context.note(f"search stopped after epoch {len(fitted.history)}: {fitted.stopped}")
        drop_residuals(context.supernet)  # they have faded to nothing and are part of no candidate
        return engine

    def engine(
        self,
        supernet: nn.Module,
        task: Task,
        config: SearchConfig,
        accelerator: Accelerator,
        limits: Limits | None = None,
    ) -> Engine:
        """What trains the supernet, by these parts, for a choice within limits."""
        parts = (self.update, self.relaxation, self.monitors, self.terms)
        made = Engine(supernet, task, config, accelerator, *parts, limits)
        made.holds_out |= self.rule.judged
        return made

    def _edit(self, context: Context) -> None:
        """The candidates and the logits that training starts from."""
        for edit in self.edits:
            if said := edit.settle(context):
                context.note(said)
        for site in context.sites.values():
            with torch.no_grad():
                site.alpha.copy_(self.relaxation.start(len(site.candidates)))


def check_alike(context: Context, genotype: Genotype, rule: SelectionRule) -> None:
    """Whether sites that make one decision have one choice, as a rule of a user's may not know.

    Raises:
        ConfigError: they have not.
    """
    for first, *others in decisions_of(context.sites):
        for other in others:
            if genotype[other] != genotype[first]:
                raise ConfigError(
                    f"rule {rule.name!r} chose {genotype[first]} at {first!r} and {genotype[other]} at {other!r}, and "
                    "search.tie has them choose alike; let it be a ScoreRule, or go by dashfx.ops.decisions_of"
                )


def favour(context: Context) -> None:
    """Logits by what a proxy says of random genotypes, or with `search.lead` for each grown conv's own kernel."""
    search, sites = context.config.search, context.sites
    if not search.warm_start:
        if search.init == "grow" and search.lead:
            favour_original(sites, search.lead)
        return
    evaluating = evaluator_of(search.warm_start, context.config).begin(context)
    rows = evaluated(context, evaluating, RandomSearch())
    for name, site in sites.items():
        with torch.no_grad():
            site.alpha.copy_(marginal_logits(rows, name, site.candidates))


DASH = Gradient()
