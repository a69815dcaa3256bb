"""Further points of a finished search: its mixtures and other budgets go in; another choice and its model come out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import nn

from dashfx.cost.budgets import Limits, Spent, limits_of, read_budgets
from dashfx.deploy.quantise.choose import Int8
from dashfx.errors import ConfigError
from dashfx.frontend.tracing import trace
from dashfx.genotype import Genotype
from dashfx.ops import decisions_of, sites_of
from dashfx.run.run import Run
from dashfx.stages.compare import metric_of
from dashfx.stages.costs.drops import measured_drops
from dashfx.stages.costs.limits import choices_of, fixed, limited, spent
from dashfx.stages.costs.mixtures import choosable, has_mixtures, model_with, run_of
from dashfx.stages.export import metadata, write_onnx
from dashfx.stages.files.precise import precise
from dashfx.stages.files.quantise import judge_of
from dashfx.stages.reopen import searched_of
from dashfx.stages.retrain import specialised
from dashfx.supernet import lower


@dataclass(frozen=True)
class Picked:
    """A choice within budgets, its lowered model as the search left it, and what that costs.

    Attributes:
        run: as the search left it, with these budgets.
    """

    genotype: Genotype
    model: nn.Module
    budgets: tuple[Spent, ...]
    run: Run


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


def front(
    folder: str | Path,
    cost: str,
    points: int,
    data: str | None = None,
    int8: bool = False,
    drop: float | str | None = None,
) -> list[Point]:
    """The choices that an earlier run's mixtures prefer, from the cheapest on.

    Args:
        cost: its name, as in a budget.
        int8: each conv's precision is chosen too.
        drop: as of `picked`.

    Raises:
        RunFolderError: as of `picked`.
        ConfigError: no such cost.
    """
    (budget,) = read_budgets([f"{cost}=1x"])
    run, supernet, training = choosable(folder, data)
    run = run.with_config(run.config.with_drop(drop))
    inputs = run.inputs.for_retraining()
    limits = limits_of([budget], trace(inputs.given_model(), inputs.example), choices_of(supernet), int8)
    limits = _priced(run, supernet, limits) if int8 else limits
    scores, (limit,) = training.rule.preferred(sites_of(supernet)), limits.each
    return [
        Point(each, budget.cost.say(limit.total(each)), sum(scores[name][choice] for name, choice in each.items()))
        for each in limits.front(scores, points, decisions_of(sites_of(supernet)))
    ]


def picked(
    folder: str | Path,
    budgets: Sequence[str],
    data: str | None = None,
    int8: bool = False,
    drop: float | str | None = None,
) -> Picked:
    """What an earlier run's mixtures prefer within other budgets; nothing is searched or trained.

    Args:
        data: where the run's data are now; without them noise of their shape will do, except for `int8`.
        int8: each conv's precision is chosen too; the budgets are those of the file that `write_int8` writes.
        drop: how much of the metric that may cost, as `export.max_drop`; None for what the run says.

    Raises:
        RunFolderError: not a run's folder, or one without trained mixtures to choose from.
        ConfigError: no choice holds the budgets, or no data to measure what int8 costs.
    """
    run, supernet, training = choosable(folder, data)
    run = limited(asking(run.with_config(run.config.with_drop(drop)), budgets), supernet, int8=int8)
    if int8 and run.limits is not None:
        run = replace(run, limits=_priced(run, supernet, run.limits))
    genotype = training.rule.within(sites_of(supernet), run.limits)
    model = lower(supernet, genotype, "inherit" if run.strategy.judges_mixtures else "own")
    return Picked(genotype, model, () if genotype.bits else spent(run, genotype, model), run)


def write_int8(found: Picked, path: Path) -> tuple[Picked, Int8]:
    """The choice's float file at `path` and beside it its int8 file, whose cost is measured; weights want training yet.

    Raises:
        ExportError, VerifyError: as `dashfx.export`.
    """
    run, model = found.run.for_retraining(), found.model
    plain = found.genotype.with_bits({})
    facts = metadata(run.inputs.data, run.inputs.task, plain)
    valid = metric_of(run, model, "valid")
    _, before = write_onnx(run.inputs, model, facts, path, valid)
    judge = judge_of(run.inputs, path, before, valid)
    file, genotype = precise(run, path, judge, found.genotype, model)
    return replace(found, genotype=genotype, budgets=spent(run, genotype, model, file.path)), file


def _priced(run: Run, supernet: nn.Module, limits: Limits) -> Limits:
    """With what int8 costs in quality.

    Raises:
        ConfigError: the run's data are not here.
    """
    if run.inputs.data.raw and run.inputs.data.raw.noise:
        raise ConfigError(
            "--int8: what each conv loses in int8 is measured on the run's data, which are not here; "
            "say where they are by --data"
        )
    return replace(limits, drops=measured_drops(run, supernet))


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
    if over and has_mixtures(folder) and not before.widths:
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
