"""Timing of a step, and its peak memory, on CPU and on CUDA devices."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch.profiler import ProfilerActivity, profile

from dashfx.ops.fourier.buffers import release

Step = Callable[[], object]
Clock = Callable[[], float]


@dataclass(frozen=True)
class Timing:
    """Times of the same step, in seconds."""

    runs: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.runs)

    @property
    def spread(self) -> float:
        """Half the distance between the quartiles, relative to the median; 0 where there are fewer than two runs."""
        if len(self.runs) < 2:
            return 0.0
        low, _, high = statistics.quantiles(self.runs, n=4, method="inclusive")
        return (high - low) / 2 / self.median

    def over(self, other: Timing) -> Timing:
        """Run by run relative to another's, which took turns with this."""
        return Timing(tuple(own / theirs for own, theirs in zip(self.runs, other.runs, strict=False)))


def seconds(step: Step, device: torch.device, clock: Clock = time.perf_counter) -> float:
    """Time of one call by the clock, with all that it started on the device."""
    _synchronise(device)
    started = clock()
    step()
    _synchronise(device)
    return clock() - started


def timing(
    step: Step, device: torch.device, repeats: int = 5, limit: float = 10.0, clock: Clock = time.perf_counter
) -> Timing:
    """Times after one warm-up call, which fills caches and the allocator's pools.

    Args:
        clock: `time.process_time` on a processor that others use too.
        limit: seconds after which no further run begins; there is one at least.
    """
    step()
    runs = [seconds(step, device, clock)]
    while len(runs) < repeats and sum(runs) < limit:
        runs.append(seconds(step, device, clock))
    return Timing(tuple(runs))


def in_turns(
    steps: Sequence[Step],
    device: torch.device,
    repeats: int = 5,
    limit: float = 10.0,
    clock: Clock = time.perf_counter,
) -> list[Timing]:
    """As `timing` for each step, in turns, so that what else the machine does slows all of them.

    Each run has a warm-up call of its own, and every turn begins with another step: one that needs gigabytes leaves the
    allocator's pools and the caches worse for those that follow.

    Args:
        limit: a step sits out once its own runs took so many seconds.
    """
    runs: list[list[float]] = [[] for _ in steps]
    for turn in range(repeats):
        for i in range(turn, turn + len(steps)):
            step, own = steps[i % len(steps)], runs[i % len(steps)]
            if not own or sum(own) < limit:
                step()
                own.append(seconds(step, device, clock))
    return [Timing(tuple(own)) for own in runs]


def peak_bytes(step: Step, device: torch.device) -> int:
    """The most bytes of tensors that one call holds at once, beyond those that were there.

    Call the step once before, so that caches are filled. What the Fourier path keeps from step to step counts too; what
    a library takes past torch's allocator is not seen.
    """
    release()
    if device.type == "cuda":
        _synchronise(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        step()
        _synchronise(device)
        return torch.cuda.max_memory_allocated(device) - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        step()
    assert profiler.profiler is not None and profiler.profiler.kineto_results is not None
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    events.sort(key=lambda event: event.start_ns())
    return max(accumulate((event.nbytes() for event in events), initial=0))


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
