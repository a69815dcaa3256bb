"""Further points of a finished search: its mixtures and other budgets go in; another choice and its model come out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from dashfx.cost.budgets import Spent, limits_of, read_budgets
from dashfx.frontend.tracing import trace
from dashfx.genotype import Genotype
from dashfx.ops import decisions_of, sites_of
from dashfx.stages.costs.limits import choices_of, limited, spent
from dashfx.stages.reopen import mixtures_of
from dashfx.supernet import lower


@dataclass(frozen=True)
class Picked:
    """A choice within budgets, its lowered model as the search left it, and what that costs."""

    genotype: Genotype
    model: nn.Module
    budgets: tuple[Spent, ...]


@dataclass(frozen=True)
class Point:
    """A choice on the front of a cost and what a rule prefers.

    Attributes:
        cost: of the whole model, in words.
        score: the sum over the sites.
    """

    genotype: Genotype
    cost: str
    score: float


def front(folder: str | Path, cost: str, points: int, data: str | None = None) -> list[Point]:
    """The choices that an earlier run's mixtures prefer, from the cheapest on.

    Args:
        cost: its name, as in a budget.

    Raises:
        RunFolderError: as of `picked`.
        ConfigError: no such cost.
    """
    (budget,) = read_budgets([f"{cost}=1x"])
    run, supernet, training = mixtures_of(folder, data)
    inputs = run.inputs.for_retraining()
    limits = limits_of([budget], trace(inputs.given_model(), inputs.example), choices_of(supernet))
    scores, (limit,) = training.rule.preferred(sites_of(supernet)), limits.each
    return [
        Point(each, budget.cost.say(limit.total(each)), sum(scores[name][choice] for name, choice in each.items()))
        for each in limits.front(scores, points, decisions_of(sites_of(supernet)))
    ]


def picked(folder: str | Path, budgets: Sequence[str], data: str | None = None) -> Picked:
    """What an earlier run's mixtures prefer within other budgets; nothing is searched or trained.

    Args:
        data: where the run's data are now; without them noise of their shape will do.

    Raises:
        RunFolderError: not a run's folder, or one without trained mixtures to choose from.
        ConfigError: no choice holds the budgets.
    """
    run, supernet, training = mixtures_of(folder, data)
    options = run.config.search.model_copy(update={"budgets": tuple(budgets)})
    run = limited(run.with_config(run.config.model_copy(update={"search": options})), supernet)
    genotype = training.rule.within(sites_of(supernet), run.limits)
    model = lower(supernet, genotype, "inherit" if run.strategy.judges_mixtures else "own")
    return Picked(genotype, model, spent(run, genotype, model))
