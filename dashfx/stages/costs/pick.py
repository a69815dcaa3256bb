"""Further points of a finished search: its mixtures and other budgets go in; another choice and its model come out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from dashfx.cost.budgets import Spent, limits_of, read_budgets
from dashfx.errors import ConfigError
from dashfx.frontend.tracing import trace
from dashfx.genotype import Genotype
from dashfx.ops import decisions_of, sites_of
from dashfx.run.run import Run
from dashfx.stages.costs.limits import choices_of, fixed, limited, spent
from dashfx.stages.costs.mixtures import has_mixtures, mixtures_of, model_with, run_of
from dashfx.stages.reopen import searched_of
from dashfx.stages.retrain import specialised
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
    run = limited(asking(run, budgets), supernet)
    genotype = training.rule.within(sites_of(supernet), run.limits)
    model = lower(supernet, genotype, "inherit" if run.strategy.judges_mixtures else "own")
    return Picked(genotype, model, spent(run, genotype, model))


def asking(run: Run, budgets: Sequence[str]) -> Run:
    """The run with these budgets in the place of its own."""
    options = run.config.search.model_copy(update={"budgets": tuple(budgets)})
    return run.with_config(run.config.model_copy(update={"search": options}))


def repicked(
    folder: str | Path, budgets: Sequence[str], data: str | None = None, known: Genotype | None = None
) -> tuple[nn.Module, Genotype]:
    """An earlier run's choice, or where that costs more than the budgets allow another one that its mixtures prefer.

    Args:
        known: what this has come to before.

    Returns:
        the lowered model as the search left it, and the choice.

    Raises:
        ConfigError: no choice holds, or the run's own does not and has no mixtures to choose another from.
    """
    before = known or searched_of(folder)
    over = [] if known else [each for each in reported(folder, budgets, data, before) if not each.held]
    if over and has_mixtures(folder):
        found = picked(folder, budgets, data)
        return found.model, found.genotype
    if over:
        raise ConfigError(
            f"{folder}: {over[0].sentence}; it has no trained mixtures to choose again from, so search with "
            f"--max {over[0].budget}"
        )
    return model_with(folder, before, data), before


def reported(folder: str | Path, budgets: Sequence[str], data: str | None, genotype: Genotype) -> tuple[Spent, ...]:
    """What a choice for an earlier run's model costs beside budgets, untrained."""
    run = asking(run_of(folder, data), budgets)
    return spent(fixed(run, genotype), genotype, specialised(run.silent().for_retraining(), genotype))


def held_to(run: Run, genotype: Genotype, budgets: Sequence[str]) -> Callable[[nn.Module, Path], tuple[Spent, ...]]:
    """What tells a finished model and its ONNX file beside a run's budgets and further ones.

    Raises:
        ConfigError: a budget that names no cost or limit.
    """
    known = fixed(asking(run, [*dict.fromkeys((*run.config.search.budgets, *budgets))]), genotype)
    return lambda model, path: spent(known, genotype, model, path)
