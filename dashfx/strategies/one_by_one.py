"""One-by-one discretisation: a searched supernet's sites are decided one at a time, with training after each.

Sequential Greedy Architecture Search (Li et al., CVPR 2020) decides in this way: the site whose mixture is most certain
comes first, and what is still mixed goes on learning beside what has been decided.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

import torch

from dashfx.config.search import SearchConfig
from dashfx.cost.budgets import Limits
from dashfx.ops import AggConv, decisions_of
from dashfx.ops.relaxations import Progress
from dashfx.ops.ties import alike
from dashfx.strategies.engine import Engine
from dashfx.strategies.judge import Judge
from dashfx.strategies.rules import SelectionRule
from dashfx.train.fit import derive_seed

STAGE = "one-by-one"  # in the log, the report, and the names of checkpoints


class OneByOne(Engine):
    """The search goes on for an epoch of `search.recovery` times the usual size per decision that is still open.

    Before each, one site, or all that choose together, is left with its choice. So when the last epoch is done nothing
    is mixed any more, and an interrupted run goes on with the site that comes next.
    """

    def __init__(
        self, searched: Engine, rule: SelectionRule, judge: Judge | None = None, limits: Limits | None = None
    ) -> None:
        """Goes on from a search, with copies of its relaxation, update and terms as it left them; monitors are done.

        Args:
            judge: whom the rule asks, where it does.
            limits: what the choices may cost together; each is made beside those that would be made now elsewhere.
        """
        epochs = len(decisions_of(undecided(searched.sites)))
        super().__init__(
            searched.plain,
            searched.task,
            config_after_search(searched.config, epochs),
            searched.accelerator,
            searched.update,
            searched.relaxation,
            terms=searched.terms,
        )
        self.holds_out, self.judge = searched.holds_out, judge
        self.rule, self._limits = copy.deepcopy(rule), limits

    def begin_epoch(self, epoch: int, seed: int) -> None:
        self.decide_next()
        super().begin_epoch(epoch, seed)

    def progress(self, epoch: int) -> Progress:
        return Progress(epoch, 1.0, self.warm)

    def state_dict(self) -> dict[str, Any]:
        looks = {"looks": self.judge.looks} if self.judge else {}
        return {**super().state_dict(), "rule": self.rule.state_dict(), **looks}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self.rule.load_state_dict(state.get("rule", {}))
        if self.judge:
            self.judge.looks = state.get("looks", 0)

    @torch.no_grad()
    def decide_next(self) -> str:
        """Leave the next of the mixed sites, by the rule's order, with the rule's choice; its name.

        Sites that choose together with it are decided too. The choice starts from the mixed kernel on its own taps, so
        only what the mixture has elsewhere is lost.
        """
        sites = undecided(self.sites)
        name = max(sites, key=lambda each: certainty(sites[each]))
        if self.rule.order == "random":
            name = sorted(sites)[derive_seed("one-by-one", *sorted(sites)) % len(sites)]
        group = alike(sites, name)
        together = {each: sites[each] for each in group} if self._limits is None else self.sites
        chosen = self.rule.within(together, self._limits, self.judge)[name]
        kernels = {each: sites[each].restricted(sites[each].candidates.index(chosen)) for each in group}
        for each, kernel in kernels.items():
            index = sites[each].candidates.index(chosen)
            sites[each].put(index, kernel)
            self.keep(each, [index])
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
    """The search's options as they hold after it: without monitors, at a tenth of its learning rate."""
    after = {"warmup": 0.0, "fade": 0.0, "patience": 0, "shrink": 0.0}
    size = {"epochs": max(1, epochs), "fraction": config.fraction * config.recovery, "lr": config.lr / 10}
    return config.model_copy(update={**after, **size})
