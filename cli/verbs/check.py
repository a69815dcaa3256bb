"""`dashfx check`: a model, data or both go in; what would be searched, what not and why, and the data are shown."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dashfx.cli import check_data, render
from dashfx.cli.options import costs as cost_options
from dashfx.cli.options import shared as options
from dashfx.cli.options import space as space_options
from dashfx.cli.tables import costs as cost_tables
from dashfx.cli.tables import shared as tables
from dashfx.errors import ConfigError
from dashfx.site import Site, Skip, frozen_note
from dashfx.space import Candidate
from dashfx.train.progress import QUIET

if TYPE_CHECKING:
    import torch
    from torch import nn

    from dashfx.config.run import RunConfig
    from dashfx.cost.ceiling.rule import Held
    from dashfx.data import Data
    from dashfx.frontend.model import ModelSource
    from dashfx.ops import Tuning
    from dashfx.passes import PassResult
    from dashfx.task import Task

Input = Annotated[
    str | None, typer.Option(help="shape of one input, such as 3x32x32; by default that of --data", show_default=False)
]
Tune = Annotated[
    bool, typer.Option("--tune", help="measure the algorithms of each mixture, at search.batch_size; a minute at most")
]

Timed = Annotated[
    bool, typer.Option("--latency", help="time each conv with each candidate in ONNX Runtime, as budgets of latency do")
]
Measure = Annotated[
    bool, typer.Option("--estimate/--no-estimate", help="time a few training steps, and say what the run would take")
]


def check(
    ctx: typer.Context,
    model: options.Model = None,
    input: Input = None,
    data: options.Data = None,
    preset: options.Preset = None,
    model_args: options.ModelArgs = None,
    checkpoint: options.Checkpoint = None,
    new_head: options.NewHead = None,
    kernels: options.Kernels = None,
    dilations: options.Dilations = None,
    families: space_options.Families = None,
    ceiling: space_options.Ceiling = None,
    space: options.Space = None,
    include: options.Include = None,
    exclude: options.Exclude = None,
    config: options.Config = None,
    assignments: options.Assignments = None,
    seed: options.Seed = None,
    task: options.Task = None,
    tune: Tune = False,
    latency: Timed = False,
    latency_threads: cost_options.LatencyThreads = None,
    latency_provider: cost_options.LatencyProvider = None,
    estimate: Measure = True,
) -> None:
    """Show every conv of MODEL: what would be searched, and what stays as it is and why. Trains nothing.

    With --data, also what stands in the data, part by part, for which no MODEL is needed; with both, what a run would
    take.
    """
    from dashfx.frontend.model import load_model
    from dashfx.frontend.tracing import trace
    from dashfx.stages.costs.estimate import sight
    from dashfx.supernet import as_supernet

    settings = options.configuration(ctx.params)
    wanted = data is not None or input is None  # else a preset's data, which may have to be generated, are not needed
    loaded = check_data.load(settings) if settings.data and wanted else None
    if loaded is not None:
        check_data.show_data(loaded)
        if settings.model is None:
            return
    source = load_model(options.given(settings.model, options.NO_MODEL), settings.model_args)
    network = built(source, settings)
    example = example_input(input, loaded, settings.seed)
    judged = fitting_task(network, example, loaded, settings) if loaded is not None and input is None else None
    program = trace(network, example)
    seen = sight(program, example)
    report = survey(program, settings)
    render.show(*_parts(report))
    _warn_of_two_runtimes()
    if not report.sites:
        as_supernet(program)  # says why there is nothing to search
    if tune:
        tuning = tuned(program.model, example, settings)
        render.show(tables.tuning(tuning), str(tuning))
    if latency:
        show_latency(report.sites, network, example[:1], settings)
    if seen is not None:
        render.show(f"{seen.sentence()}.")
    propose_wider(source, example, settings.seed)
    if estimate and loaded is not None and judged is not None:
        show_estimate(source, loaded, judged, settings, program.model)


def built(source: ModelSource, settings: RunConfig) -> nn.Module:
    """The user's model with its checkpoint, where there is one; what loading that had to say is shown."""
    from dashfx.frontend.checkpoint import load_checkpoint
    from dashfx.frontend.model import build

    network = build(source, settings.seed)
    if settings.checkpoint:
        key, new_head = settings.checkpoint_key, settings.new_head
        for note in load_checkpoint(network, settings.checkpoint, key=key, new_head=new_head):
            render.note(note)
    return network


def fitting_task(network: nn.Module, example: torch.Tensor, data: Data, settings: RunConfig) -> Task:
    """The task on these data, once the model's output has been seen to fit it."""
    from dashfx.frontend.outputs import check_fit
    from dashfx.task import LossOptions, load_task

    task = load_task(settings.task, data, LossOptions(**settings.loss.model_dump()))
    for warning in check_fit(network, example, data, task):
        render.warn(warning)
    return task


def propose_wider(source: ModelSource, example: torch.Tensor, seed: int) -> None:
    """The control of as many parameters, where the model's class has an argument for it."""
    from dashfx.stages.finalists.widths import widths

    for name, value in list(widths(source, example, seed).items())[:1]:
        alone = f"--wider {name}" if isinstance(value, int) else f"--wider {name}={2 * value:g}"
        render.show(
            f"Larger kernels have more parameters, and a wider model may do as well: {alone} of dashfx search "
            f"trains an untouched model with a larger {name} (now {value:g}) beside the searched one."
        )


def show_latency(sites: list[SiteFacts], network: nn.Module, x: torch.Tensor, settings: RunConfig) -> None:
    """What each conv takes with each candidate, how much of the model's time they have, and how well that adds up."""
    import torch

    from dashfx.blackbox.genomes import GenotypeSpace
    from dashfx.cost.latency import Place, latencies
    from dashfx.cost.latency.model import MeasuredLatency
    from dashfx.cost.latency.table import machine
    from dashfx.frontend.tracing import trace
    from dashfx.stages.costs.limits import held_to_networks, place_of, unsteady
    from dashfx.supernet import specialise

    place = Place(**place_of(settings))
    cost = MeasuredLatency(place.threads, place.provider, place.layout)
    cost.prepare({each.site.name: each.site for each in sites}, {each.site.name: each.candidates for each in sites})
    rows = {each.site: {c: cost.at(each.site, c) for c in (each.site.original, *each.candidates)} for each in sites}
    (whole,) = latencies([network], x, place)
    own, said = sum(row[site.original] for site, row in rows.items()), "ONNX Runtime does not take the whole model"
    lines = unsteady(cost.times)
    if whole is not None:
        said = f"the model takes {cost.say(whole.median)}"
        space = GenotypeSpace({each.site.name: each.candidates for each in sites})
        program = trace(network, torch.cat([x, x]))
        found = held_to_networks(cost, program, space, lambda choice: specialise(network, torch.cat([x, x]), choice))
        lines += [str(found)] if found else []
    said = f"{said}, its convs, each by a call of its own, {cost.say(own)}; on {machine(place)}"
    render.show(tables.latency(rows), said, *lines)


def show_estimate(source: ModelSource, data: Data, task: Task, settings: RunConfig, supernet: Any) -> None:
    """What a run with these options would take, measured on a few steps."""
    from dashfx.run.inputs import Inputs
    from dashfx.run.ledger import Ledger
    from dashfx.run.run import Run
    from dashfx.run.session import Session
    from dashfx.stages.costs.estimate import estimate

    inputs = Inputs(source, data, task, settings, settings.checkpoint)
    found = estimate(Run(inputs, Session(settings, QUIET, False, time.perf_counter()), Ledger()), supernet)
    render.show(tables.estimate(found), *(f"{line}." for line in found.advice()))


@dataclass(frozen=True)
class SiteFacts:
    """A conv that would be searched.

    Attributes:
        candidates: those that pruning left, of `offered`.
        parameters, macs, receptive_field: of the conv as it is now.
    """

    site: Site
    candidates: tuple[Candidate, ...]
    offered: int
    parameters: int
    macs: int
    receptive_field: tuple[float, ...] | None


@dataclass(frozen=True)
class Survey:
    """What the passes up to the search say of a model; `held` and `costs` are of the ceiling on its supernet."""

    sites: list[SiteFacts]
    skips: list[Skip]
    opaque: dict[str, str]
    passes: list[PassResult]
    parameters: int
    held: Held
    costs: str


def survey(program: Any, settings: RunConfig) -> Survey:
    """Run the passes up to the search on a traced model, which becomes a supernet."""
    from dashfx.cost.counts import conv_macs, conv_parameters
    from dashfx.frontend.analysis import site_receptive_fields
    from dashfx.ops import sites_of
    from dashfx.stages.costs.ceiling import under_ceiling
    from dashfx.supernet import rewriting_passes

    parameters = sum(parameter.numel() for parameter in program.model.parameters())
    fields = site_receptive_fields(program.graph_module)
    found = under_ceiling(settings, program)
    whole, space = settings.space.build(program.ndim), found.space
    costs = f"{found.sentence()}."  # counted while the model is the user's still
    steps = rewriting_passes(space, settings.search.init, settings.space.include, settings.space.exclude)
    results = [step(program.graph_module) for step in steps]
    searchable = sites_of(program.model)
    sites = [
        SiteFacts(
            site,
            tuple(searchable[name].candidates),
            len(whole.for_site(name, site.original)),
            conv_parameters(site, site.original),
            conv_macs(site, site.original),
            fields[name],
        )
        for name, site in program.sites.items()
    ]
    return Survey(sites, list(program.skips), dict(program.opaque), results, parameters, found, costs)


def tuned(supernet: Any, example: torch.Tensor, settings: RunConfig) -> Tuning:
    """The algorithms for batches of the search's size, measured on its device or known from earlier."""
    import torch

    from dashfx.ops import tune
    from dashfx.ops.autotune.table import cache_file
    from dashfx.train.fit import make_accelerator

    accelerator = make_accelerator(settings.device, settings.amp)
    supernet.to(accelerator.device)
    batch = torch.randn(settings.search.batch_size, *example.shape[1:], device=accelerator.device)
    with accelerator.autocast():
        return tune(supernet, batch, cache=cache_file())


def example_input(shape: str | None, data: Data | None, seed: int) -> torch.Tensor:
    """A batch of two: random values of the shape given, or the first rows of the data.

    Raises:
        ConfigError: neither is given, or the shape has another form.
    """
    import torch

    if shape is not None:
        return torch.randn(2, *options.shape(shape), generator=torch.Generator().manual_seed(seed))
    if data is None:
        raise ConfigError("no input: give its shape, such as --input 3x32x32, or --data to take it from")
    return data.train.__getitems__([0, min(1, len(data.train) - 1)])[0]


def _parts(report: Survey) -> Iterator[Any]:
    if report.sites:
        yield tables.sites(report.sites)
        yield tables.candidates(report.sites)
    if report.skips:
        yield tables.skips(report.skips)
    if report.opaque:
        yield tables.opaque(report.opaque)
    for result in report.passes:
        if result.name == "canonicalise" and result.modified:
            yield tables.edits(result)
    yield f"{_count(report.sites)} to search, {_count(report.skips)} left alone, {report.parameters:,} parameters"
    if report.held.acts:
        yield cost_tables.ceiling(report.held)
    if report.sites:
        yield report.costs
    if note := frozen_note(each.site for each in report.sites):
        yield note
    for each in report.sites:
        if each.site.calls > 1:
            yield f"{each.site.name}: called {each.site.calls} times in a forward pass, and searched as one"


def _count(found: list[Any]) -> str:
    return f"{len(found)} conv{'s' * (len(found) != 1)}"


def _warn_of_two_runtimes() -> None:
    from dashfx.deploy.runtime import installed_runtimes

    if len(found := installed_runtimes()) > 1:
        render.warn(
            f"{' and '.join(found)} are both installed and overwrite each other's files: "
            "pip uninstall both, then install one"
        )
