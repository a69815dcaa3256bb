"""A searched supernet goes in; its sites are discretised one at a time, and it is trained on after each.

Sequential Greedy Architecture Search (Li et al., CVPR 2020) decides in this way: the site whose mixture is most certain
comes first, and what is still mixed goes on learning beside what has been decided.
"""

from __future__ import annotations

import math

import torch
from accelerate import Accelerator
from torch import nn

from dashfx.config.run import SearchConfig
from dashfx.ops import AggConv, sites_of
from dashfx.strategies.engine import Engine, Strategy
from dashfx.strategies.rules import SelectionRule
from dashfx.task import Task

STAGE = "one-by-one"  # in the log, the report, and the names of checkpoints


class OneByOne(Engine):
    """The search goes on for an epoch of `search.recovery` times the usual size per site that still mixes.

    Before each, one site is left with its choice. So when the last epoch is done nothing is mixed any more, and an
    interrupted run goes on with the site that comes next.
    """

    def __init__(
        self,
        supernet: nn.Module,
        task: Task,
        config: SearchConfig,
        accelerator: Accelerator,
        strategy: Strategy,
        rule: SelectionRule,
    ) -> None:
        epochs = len(undecided(sites_of(supernet)))
        super().__init__(supernet, task, config_after_search(config, epochs), accelerator, strategy)
        self._rule = rule

    def begin_epoch(self, epoch: int, seed: int) -> None:
        self.decide_next()
        super().begin_epoch(epoch, seed)

    @torch.no_grad()
    def decide_next(self) -> str:
        """Leave the most certain of the mixed sites with the rule's choice; its name.

        The choice starts from the mixed kernel on its own taps, so only what the mixture has elsewhere is lost.
        """
        sites = undecided(self.sites)
        name = max(sites, key=lambda each: certainty(sites[each]))
        site = sites[name]
        index = site.candidates.index(self._rule.select({name: site})[name])
        site.weights[index].copy_(site.restricted(index))
        self.keep(name, [index])
        return name


def undecided(sites: dict[str, AggConv]) -> dict[str, AggConv]:
    """The sites that have more than one candidate."""
    return {name: site for name, site in sites.items() if len(site.candidates) > 1}


def certainty(site: AggConv) -> float:
    """1 - H(a) / log n for coefficients a of n candidates: 0 where they are equal, 1 where one has it all."""
    coef = site.coefficients().detach()
    entropy = -float(torch.special.xlogy(coef, coef).sum())
    return 1 - entropy / math.log(len(coef))


def config_after_search(config: SearchConfig, epochs: int) -> SearchConfig:
    """The search's options as they hold after it: at its last temperature, at a tenth of its learning rate."""
    after = {"warmup": 0.0, "fade": 0.0, "tau": (config.tau[1], config.tau[1]), "patience": 0, "shrink": 0.0}
    size = {"epochs": max(1, epochs), "fraction": config.fraction * config.recovery, "lr": config.lr / 10}
    return config.model_copy(update={**after, **size})
