"""Costs under budgets: what candidates cost and whether budgets can be held, and in the end what was spent."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from torch import nn

from dashfx.cost.base import Choices
from dashfx.cost.budgets import Limits, Spent, limits_of, read_budgets
from dashfx.cost.latency_model import MeasuredLatency
from dashfx.cost.latency_table import LatencyTable
from dashfx.frontend.tracing import trace
from dashfx.genotype import Genotype
from dashfx.ops import decisions_of, sites_of
from dashfx.run.folder import RunFolder
from dashfx.run.run import Run
from dashfx.train.processes import first_does

STAGE = "costs"


def limited(run: Run, supernet: nn.Module, out: str | Path | None = None, int8: bool | None = None) -> Run:
    """The run with what its budgets allow; one process measures for all.

    Args:
        out: the run's folder, from whose `latency.json` a resumed run takes its times.
        int8: each conv's precision is chosen too, so that the budgets are those of the int8 file; by default where one
            will be written.

    Raises:
        ConfigError: no choice holds the budgets, or none that the strategy could make.
    """
    int8 = run.config.export.int8 and out is not None if int8 is None else int8
    run = replace(run, limits=_limits(run, supernet, out, int8))
    run.strategy.require(sites_of(supernet), run.limits, run.config)
    return run


def _limits(run: Run, supernet: nn.Module, out: str | Path | None, int8: bool) -> Limits | None:
    texts = run.config.search.budgets
    if not texts:
        return None
    kept = RunFolder(Path(out)).latency if out is not None and run.session.resume else None
    beside = run.strategy.beside(sites_of(supernet), run.config)
    choices = {name: [*row, *beside.get(name, ())] for name, row in choices_of(supernet).items()}

    def measured() -> Limits:
        inputs, budgets = run.inputs.for_retraining(), read_budgets(texts)
        for cost in [budget.cost for budget in budgets if isinstance(budget.cost, MeasuredLatency)]:
            cost.times.entries.update(LatencyTable.load(kept).entries)
        limits = limits_of(budgets, trace(inputs.given_model(), inputs.example), choices, int8)
        limits.check(choices, decisions_of(sites_of(supernet)))
        return limits

    with run.stage(STAGE, ", ".join(texts)):
        return first_does(run.session.accelerator, measured)


def choices_of(supernet: nn.Module) -> Choices:
    """The candidates of each site that are alive."""
    alive = {name: site.mask.tolist() for name, site in sites_of(supernet).items()}
    return {
        name: [c for c, kept in zip(site.candidates, alive[name], strict=True) if kept]
        for name, site in sites_of(supernet).items()
    }


def times_of(limits: Limits | None) -> LatencyTable | None:
    """What was timed for a budget of latency, where there is one."""
    costs = [limit.budget.cost for limit in limits.each] if limits else []
    return next((cost.times for cost in costs if isinstance(cost, MeasuredLatency)), None)


def spent(run: Run, genotype: Genotype, plain: nn.Module, int8: Path | None = None) -> tuple[Spent, ...]:
    """What the lowered model costs beside each budget, counted or measured on the model as a whole; also as notes.

    Args:
        int8: its int8 file, which is measured in its place where the genotype has convs in int8.
    """
    limits = run.limits
    if limits is None:
        return ()

    def measured() -> tuple[Spent, ...]:
        program, file = trace(plain, run.inputs.example), int8 if genotype.bits else None
        return tuple(limit.of_model(genotype, program, file) for limit in limits.each)

    with run.stage(STAGE, "the lowered model"):
        found = first_does(run.session.accelerator, measured)
    for each in found:
        run.note(each.sentence)
    return found
