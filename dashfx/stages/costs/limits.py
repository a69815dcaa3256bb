"""Costs under budgets: what candidates cost and whether budgets can be held, and in the end what was spent."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dashfx.blackbox.genomes import GenotypeSpace
from dashfx.config.run import RunConfig
from dashfx.cost.base import Choices, one_row
from dashfx.cost.budgets import Budget, Limit, Limits, Spent, corrected, limits_of, read_budgets
from dashfx.cost.ceiling.never import never_held
from dashfx.cost.latency.correction import Correction
from dashfx.cost.latency.model import MeasuredLatency
from dashfx.cost.latency.table import LatencyTable
from dashfx.cost.named import total_of
from dashfx.cost.size import Size, weight_bytes
from dashfx.frontend.tracing import Program, trace
from dashfx.genotype import Genotype
from dashfx.ops import decisions_of, sites_of
from dashfx.run.folder import RunFolder
from dashfx.run.run import Run
from dashfx.space import Candidate
from dashfx.stages.evaluators import specialised_by
from dashfx.train.processes import first_does

STAGE = "costs"
DRAWS = 12  # networks that are measured as a whole, to see how well sums tell what they take


def budgets_of(config: RunConfig) -> tuple[Budget, ...]:
    """What the options name, latency where they say that it is measured."""
    return read_budgets(config.search.budgets, **place_of(config))


def place_of(config: RunConfig) -> dict[str, Any]:
    """Where latency is measured."""
    options = config.search
    return {"threads": options.latency_threads, "provider": options.latency_provider, "layout": config.export.layout}


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
    run = replace(run, costs=_costs(run, supernet, out))
    run.strategy.require(sites_of(supernet), run.limits, run.config)
    return run


def _limits(run: Run, supernet: nn.Module, out: str | Path | None, int8: bool) -> Limits | None:
    if not run.config.search.budgets:
        return None
    beside = run.strategy.beside(sites_of(supernet), run.config)
    choices = {name: [*row, *beside.get(name, ())] for name, row in choices_of(supernet).items()}
    space = GenotypeSpace.of(sites_of(supernet))
    limits = limits_for(run, choices, space, out, int8)
    if run.strategy.narrows:  # kernels alone need not hold them
        return replace(limits, measure=partial(_narrower, run, limits))
    limits.check(choices, decisions_of(sites_of(supernet)))
    return limits


def _costs(run: Run, supernet: nn.Module, out: str | Path | None) -> Mapping[str, Limit]:
    """What the objectives beside the first cost: limits that allow everything, sharing what budgets have measured."""
    names, kept = run.config.blackbox.costs, LatencyTable()
    if not names:
        return {}
    inputs, choices = run.inputs.for_retraining(), choices_of(supernet)
    if out is not None and run.session.resume:
        kept = LatencyTable.load(RunFolder(Path(out)).latency)
    known = [limit.budget.cost for limit in run.limits.each] if run.limits else []
    wanted = [total_of(name, **place_of(run.config)) for name in names]
    found = [next((each for each in known if each == cost), cost) for cost in wanted]
    budgets = tuple(Budget(cost, math.inf, text=name) for cost, name in zip(found, names, strict=True))

    def measured() -> Mapping[str, Limit]:
        program = trace(inputs.given_model(), inputs.example)
        return dict(zip(names, limits_of(_with_times(budgets, kept), program, choices).each, strict=True))

    with run.stage(STAGE, ", ".join(names)):
        return first_does(run.session.accelerator, measured)


def timed(run: Run) -> LatencyTable | None:
    """What was timed for budgets and objectives of latency, where there are some."""
    return times_of(Limits((*(run.limits.each if run.limits else ()), *run.costs.values())))


def limits_for(
    run: Run,
    choices: Choices,
    space: GenotypeSpace | None = None,
    out: str | Path | None = None,
    int8: bool = False,
) -> Limits:
    """What the run's budgets allow its model.

    Args:
        choices: what may be chosen at each site.
        space: the genotypes of which some are measured, so that sums can be corrected.
        int8: each conv's precision is chosen too; then no float model is measured in the end.
    """
    inputs, kept = run.inputs.for_retraining(), LatencyTable()
    program = trace(inputs.given_model(), inputs.example)
    if out is not None and run.session.resume:
        kept = LatencyTable.load(RunFolder(Path(out)).latency)

    def measured() -> tuple[Limits, list[str]]:
        limits, notes = limits_of(_with_times(budgets_of(run.config), kept), program, choices, int8), list[str]()
        for cost in latencies_of(limits):
            kept.place = cost.place
            if (there := kept.elsewhere()) is not None:
                notes.append(f"latency: {RunFolder(Path(out or '.')).latency.name} is of {there}; measured anew here")
            if space is not None and any(len(row) > 1 for row in choices.values()):
                found = held_to_networks(cost, program, space, partial(_model, run))
                notes += [str(found)] if found else []
            notes += unsteady(cost.times)
        each = [corrected(limit) if latencies_of(Limits((limit,))) else limit for limit in limits.each]
        return Limits(tuple(each)), notes

    with run.stage(STAGE, ", ".join(run.config.search.budgets)):
        limits, notes = first_does(run.session.accelerator, measured)
    for note in notes:
        run.note(note)
    if limits.is_precise or not latencies_of(limits):
        return limits
    return replace(limits, measure=partial(_measured, run, program, limits))


def _narrower(run: Run, limits: Limits, choice: Mapping[str, Candidate]) -> list[float]:
    """What a choice's model costs under each limit, with its widths."""
    if not isinstance(choice, Genotype) or not choice.widths:
        return [limit.total(choice) for limit in limits.each]
    program = trace(_model(run, choice), run.inputs.example)
    return [limit.budget.cost.whole(program) for limit in limits.each]


def _with_times(budgets: tuple[Budget, ...], kept: LatencyTable) -> tuple[Budget, ...]:
    """Budgets of latency begin with what a resumed run has measured."""
    for budget in budgets:
        if isinstance(budget.cost, MeasuredLatency):
            budget.cost.times.entries.update(kept.entries)
    return budgets


def held_to_networks(
    cost: MeasuredLatency, program: Program, space: GenotypeSpace, model_of: Callable[[Genotype], nn.Module]
) -> Correction | None:
    """Random networks as a whole against what their parts add up to, which is corrected from then on."""
    generator = torch.Generator().manual_seed(0)  # the same networks for every seed, so that their times are kept
    drawn = list(dict.fromkeys(space.sample(generator) for _ in range(DRAWS)))
    measured = cost.totals(program, {each: partial(model_of, each) for each in drawn})
    return cost.corrected([cost.total(program, each) for each in drawn], measured)


def _model(run: Run, genotype: Genotype) -> nn.Module:
    return specialised_by(run.inputs.for_retraining(), genotype, "costs")


def _measured(run: Run, program: Program, limits: Limits, choice: Mapping[str, Candidate]) -> list[float]:
    """What a choice's model costs under each limit; times stand in the run's folder from then on."""
    genotype = Genotype({name: choice.get(name, site.original) for name, site in program.sites.items()})
    untouched = all(genotype[name] == site.original for name, site in program.sites.items())

    def value(limit: Limit) -> float:
        cost = limit.budget.cost
        if not isinstance(cost, MeasuredLatency):
            return limit.total(genotype)
        if untouched:
            return limit.whole
        (seconds,) = cost.totals(program, {genotype: partial(_model, run, genotype)})
        return seconds

    found = first_does(run.session.accelerator, lambda: [value(limit) for limit in limits.each])
    if (folder := run.session.writes) and (times := times_of(limits)) is not None:
        times.save(folder.latency)
    return found


def choices_of(supernet: nn.Module) -> Choices:
    """The candidates of each site that are alive."""
    alive = {name: site.mask.tolist() for name, site in sites_of(supernet).items()}
    return {
        name: [c for c, kept in zip(site.candidates, alive[name], strict=True) if kept]
        for name, site in sites_of(supernet).items()
    }


def leave_unaffordable(run: Run, supernet: nn.Module) -> None:
    """Candidates leave a supernet that no choice at other sites can make room for (`dashfx.cost.ceiling.never`).

    Where mixtures are trained: what is not drops genotypes that cost too much, one by one.
    """
    if run.limits is None or not run.strategy.judges_mixtures:
        return
    sites = sites_of(supernet)
    gone = never_held(run.limits, choices_of(supernet), decisions_of(sites))
    for name, options in gone.items():
        sites[name].keep([i for i, candidate in enumerate(sites[name].candidates) if candidate not in options])
    if gone:
        count = sum(map(len, gone.values()))
        run.note(f"{run.limits}: {count} options at {len(gone)} convs can never fit, and leave before the search")


def latencies_of(limits: Limits | None) -> list[MeasuredLatency]:
    """The costs that are timed, each once."""
    costs = [limit.budget.cost for limit in limits.each] if limits else []
    return list({id(cost): cost for cost in costs if isinstance(cost, MeasuredLatency)}.values())


def times_of(limits: Limits | None) -> LatencyTable | None:
    """What was timed for budgets of latency, where there are some."""
    tables = [cost.times for cost in latencies_of(limits)]
    return LatencyTable({key: entry for table in tables for key, entry in table.entries.items()}) if tables else None


def unsteady(times: LatencyTable) -> list[str]:
    """What is to be said of times that do not come again."""
    found = times.unsteady()
    if not found:
        return []
    worst = found[0].time
    return [
        f"latency: {len(found)} of {len(times.entries)} times are not steady on this machine, the worst with quartiles "
        f"of {1e3 * worst.low:.3g} and {1e3 * worst.high:.3g} ms round {1e3 * worst.median:.3g} ms; medians are used, "
        "and an idle machine tells them better"
    ]


def fixed(run: Run, genotype: Genotype) -> Run:
    """The run of a choice that is made already, with limits that say what it costs; nothing is refused."""
    if not run.config.search.budgets:
        return run
    int8 = run.config.export.int8 or bool(genotype.bits)
    return replace(run, limits=limits_for(run, {name: [choice] for name, choice in genotype.items()}, int8=int8))


def spent(run: Run, genotype: Genotype, plain: nn.Module, path: Path | None = None) -> tuple[Spent, ...]:
    """What the finished model costs beside each budget, counted or measured on the model as a whole; also as notes.

    Args:
        path: its ONNX file, which is what is timed and weighed where there is one; the int8 file where the genotype has
            bits.
    """
    limits = run.limits
    if limits is None:
        return ()

    def measured() -> tuple[Spent, ...]:
        inputs = run.inputs.for_retraining()
        own, program = trace(inputs.given_model(), inputs.example), trace(plain, run.inputs.example)
        what = path.name if path and genotype.bits else "the model"
        sums = [limit.budget.cost.whole(program) if genotype.widths else limit.total(genotype) for limit in limits.each]
        pairs = zip(limits.each, sums, strict=True)
        return tuple(_spent(limit, total, own, program, path, what) for limit, total in pairs)

    with run.stage(STAGE, "the lowered model" if path is None else path.name):
        found = first_does(run.session.accelerator, measured)
    for each in found:
        run.note(each.sentence)
    return found


def _spent(limit: Limit, estimated: float, own: Program, program: Program, path: Path | None, what: str) -> Spent:
    cost = limit.budget.cost
    if isinstance(cost, MeasuredLatency):
        # A share is of the untouched model's time now: what slows the machine slows both.
        base, found = cost.beside(own, path or program.model, one_row(program))
        most = limit.budget.limit * base.median if limit.budget.share else limit.most
        return replace(limit, most=most).spent(
            estimated, found.median, found.spread if not found.is_steady else 0.0, what
        )
    if isinstance(cost, Size) and path is not None:
        return limit.spent(estimated, weight_bytes(path), what=what)
    return limit.spent(estimated, cost.whole(program), what=what)
