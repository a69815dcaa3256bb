"""Choice of each conv's algorithm: measured once per distinct problem, forward and backward together.

A supernet and a batch go in; every AggConv with algorithm "auto" gets its choice for that size, and a table comes out.
What has not been measured takes the estimate of `dashfx.ops.autotune.estimate`.
"""

from __future__ import annotations

import logging
import math
import statistics
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dashfx.errors import SpaceError
from dashfx.frontend.custom_forward import input_of
from dashfx.frontend.tracing import evaluation
from dashfx.ops.aggconv import AggConv, Use, sites_of
from dashfx.ops.autotune.estimate import estimates
from dashfx.ops.autotune.memory import Bytes, free_bytes, in_words, step_bytes
from dashfx.ops.autotune.table import Entry, Problem, TuningTable, machine
from dashfx.ops.autotune.timing import Step, seconds

logger = logging.getLogger(__name__)

BUDGET = 60.0  # seconds for all problems together; each gets its share, and runs once at least while time is left
REPEATS = 5
HOPELESS = 3.0  # times the best median: such an algorithm is not run again
UNLIKELY = 10.0  # times the least work by the estimate: such an algorithm is not run at all
KEPT = 0.5  # of the free memory: where spectra of all convs would take more, they are made again for the backward pass


@dataclass(frozen=True)
class Place:
    """A problem of a supernet and where it stands: the convs by name, with the keys of their choices."""

    problem: Problem
    sites: Mapping[str, Use]


@dataclass(frozen=True)
class Tuning:
    """What `tune` decided.

    Attributes:
        table: every place's entry, and whatever the table that it started from held.
        measured: how many problems were measured now; `estimated` of them had no time left, or were not to be measured.
        seconds: what measuring took.
    """

    places: tuple[Place, ...]
    table: TuningTable
    measured: int
    estimated: int
    seconds: float

    def entry(self, place: Place) -> Entry:
        return self.table.entries[place.problem.key]

    def peak_bytes(self, place: Place, name: str) -> int:
        """What a step takes at most with an algorithm, by `step_bytes`."""
        return _bytes(place.problem, name).peak

    def __str__(self) -> str:
        """One line for a log."""
        known = len(self.places) - self.measured - self.estimated
        estimated = f", {self.estimated} by estimate" if self.estimated else ""
        return f"algorithms: {self.measured} measured in {self.seconds:.1f} s, {known} known{estimated}"


def tune(
    supernet: nn.Module,
    example: Any,
    *,
    sites: Mapping[str, AggConv] | None = None,
    kept: TuningTable | None = None,
    cache: Path | None = None,
    budget: float = BUDGET,
) -> Tuning:
    """Choose the algorithm of every conv for batches like `example`, a tensor or a tuple of positional arguments.

    Problems that `kept` holds take its choices as they are, so a resumed run computes as before. The others take the
    fastest algorithm whose step fits into free memory beside what the convs decided before it keep for the backward
    pass; their times come from the file `cache` where it has them. Weights, gradients and random state stay.

    Args:
        sites: what stands for modules of the model, by their names; without it, its own AggConvs.
        budget: seconds after which no further problem is measured; 0 measures nothing.

    Raises:
        SpaceError: a conv that no algorithm can run in free memory.
    """
    sites = sites_of(supernet) if sites is None else sites
    places = find_places(supernet, example, sites)
    tuner = _Tuner(sites, TuningTable(kept.entries if kept else None), TuningTable.load(cache))
    device = next(supernet.parameters()).device
    free, deadline = free_bytes(device), time.perf_counter() + budget
    fourier = _fourier_that_fits(places, free)
    for left, place in zip(range(len(places), 0, -1), places, strict=True):
        share = (deadline - time.perf_counter()) / left
        entry = tuner.table.get(place.problem) or tuner.decide(place, fourier, free, share)
        for name, use in place.sites.items():
            tuner.sites[name].choices[use] = entry.choice
        if free is not None:
            free -= len(place.sites) * _bytes(place.problem, entry.choice).kept
    _add_to_cache(cache, tuner.measured)
    tuning = Tuning(tuple(places), tuner.table, len(tuner.measured.entries), tuner.estimated, tuner.seconds)
    logger.info("%s", tuning)
    return tuning


class _Tuner:
    """Decides one place after another: `table` gets every entry, `measured` those that were measured now."""

    def __init__(self, sites: Mapping[str, AggConv], table: TuningTable, cached: TuningTable) -> None:
        self.sites, self.table, self.cached, self.measured = sites, table, cached, TuningTable()
        self.estimated, self.seconds = 0, 0.0

    def decide(self, place: Place, fourier: str, free: int | None, share: float) -> Entry:
        """The fastest algorithm that fits into `free` bytes; measured in about `share` seconds where not known."""
        work, problem = _fitting(place, fourier, free), place.problem
        times = self._known(problem, work)
        if not times and share > 0:
            started = time.perf_counter()
            likely = [name for name, amount in work.items() if amount <= UNLIKELY * min(work.values())]
            times = measure(self.sites[next(iter(place.sites))], problem, likely, started + share)
            self.seconds += time.perf_counter() - started
            self.measured.put(problem, _fastest(times), times)
        self.estimated += not times
        return self.table.put(problem, _fastest(times) if times else next(iter(work)), times)

    def _known(self, problem: Problem, names: Iterable[str]) -> dict[str, float]:
        entry = self.cached.get(problem)
        return {name: entry.seconds[name] for name in names if name in entry.seconds} if entry else {}


def find_places(supernet: nn.Module, example: Any, sites: Mapping[str, AggConv] | None = None) -> list[Place]:
    """The distinct problems that one forward pass poses to sites with algorithm "auto", the largest first."""
    sites = sites_of(supernet) if sites is None else sites
    found: dict[Problem, dict[str, Use]] = {}

    def record(name: str, site: AggConv) -> Any:
        def hook(_: nn.Module, args: tuple[Any, ...], options: dict[str, Any]) -> None:
            x = input_of((args, options))
            x = x if x.dim() == site.ndim + 2 else x.unsqueeze(0)
            found.setdefault(problem_of(site, x), {})[name] = site.use_of(x)

        return hook

    handles = [
        supernet.get_submodule(name).register_forward_pre_hook(record(name, site), with_kwargs=True)
        for name, site in sites.items()
        if site.algorithm == "auto"
    ]
    try:
        with evaluation(supernet):
            supernet(*(example if isinstance(example, tuple) else (example,)))
    finally:
        for handle in handles:
            handle.remove()
    places = [Place(problem, uses) for problem, uses in found.items()]
    return sorted(places, key=lambda place: -len(place.sites) * min(_work(place.problem).values()))


def problem_of(site: AggConv, x: Tensor) -> Problem:
    """The problem that an input of shape (batch, in, *size) poses, under the autocast that holds at the call."""
    kind = x.device.type
    autocast = str(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else ""
    dtype, autocast = (name.removeprefix("torch.") for name in (str(x.dtype), autocast))
    return Problem(site.terms, tuple(x.shape), site.out_channels, dtype, autocast, machine(x.device))


def measure(site: AggConv, problem: Problem, names: Iterable[str], deadline: float = math.inf) -> dict[str, float]:
    """Median seconds of forward + backward of each algorithm, for the input and all parameters, on random input.

    Args:
        deadline: on the clock of `time.perf_counter`; after it each algorithm gets one run.
    """
    device = site.alpha.device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        x = torch.randn(problem.shape, device=device, dtype=getattr(torch, problem.dtype)).requires_grad_()
    coef = site.coefficients().detach().requires_grad_()
    inputs = [x, coef, *(p for p in site.parameters() if p is not site.alpha and p.requires_grad)]
    autocast = getattr(torch, problem.autocast) if problem.autocast else None

    def step_of(name: str) -> Step:
        def step() -> None:
            with torch.autocast(device.type, autocast, enabled=autocast is not None):
                y = site.mix(x, coef, name)
            torch.autograd.grad(y, inputs, torch.ones_like(y))

        return step

    return race({name: step_of(name) for name in names}, device, deadline)


def race(steps: Mapping[str, Step], device: torch.device, deadline: float = math.inf) -> dict[str, float]:
    """Median seconds of each step: after a warm-up they run in turn, so that a busy moment of the machine meets all.

    A step that takes `HOPELESS` times the best median is not run again. One that finds no memory is left out, unless
    none finds any.
    """
    runs: dict[str, list[float]] = {}
    failed: torch.OutOfMemoryError | None = None
    for name, step in steps.items():
        best = min((own[0] for own in runs.values()), default=math.inf)
        try:
            first = seconds(step, device)
            # the warm-up also fills caches and pools, hence twice the limit
            runs[name] = [first if first > 2 * HOPELESS * best else seconds(step, device)]
        except torch.OutOfMemoryError as error:
            failed = error
    if not runs and failed is not None:
        raise failed
    for _ in range(REPEATS - 1):
        best = min(map(statistics.median, runs.values()))
        for name, own in runs.items():
            if statistics.median(own) <= HOPELESS * best and time.perf_counter() < deadline:
                own.append(seconds(steps[name], device))
    return {name: statistics.median(own) for name, own in runs.items()}


def _fourier_that_fits(places: Iterable[Place], free: int | None) -> str:
    kept = sum(len(place.sites) * _bytes(place.problem, "fourier").kept for place in places)
    return "fourier" if free is None or kept <= KEPT * free else "fourier_recompute"


def _fitting(place: Place, fourier: str, free: int | None) -> dict[str, float]:
    """`_work` of the algorithms whose step fits into `free` bytes; of the Fourier ones this one is asked."""
    problem, work = place.problem, _work(place.problem, fourier)
    peaks = {name: _bytes(problem, name).peak for name in work}
    fitting = {name: amount for name, amount in work.items() if free is None or peaks[name] <= free}
    if not fitting:
        least = min(peaks, key=peaks.__getitem__)
        assert free is not None
        raise SpaceError(
            f"Site {next(iter(place.sites))!r}: {problem} does not fit into memory: {least}, which takes the least, "
            f"asks for {in_words(peaks[least])}, {in_words(max(0, free))} is left beside the other convs; "
            "lower search.batch_size, or exclude the site (space.exclude)"
        )
    return fitting


def _work(problem: Problem, fourier: str = "fourier") -> dict[str, float]:
    """Estimates, the least first; that of "fourier" stands under the name given."""
    found = estimates(problem.spec, problem.shape, problem.out_channels)
    return {fourier if name == "fourier" else name: work for name, work in found}


def _fastest(times: Mapping[str, float]) -> str:
    return min(times, key=times.__getitem__)


def _bytes(problem: Problem, name: str) -> Bytes:
    return step_bytes(name, problem.spec, problem.shape, problem.out_channels, problem.itemsize)


def _add_to_cache(path: Path | None, new: TuningTable) -> None:
    """Read again before writing: another run may have added its own meanwhile."""
    if path is None or not new.entries:
        return
    try:
        TuningTable({**TuningTable.load(path).entries, **new.entries}).save(path)
    except OSError as error:
        logger.info("the cache %s cannot be written: %s", path, error)
