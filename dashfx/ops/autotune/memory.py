"""Memory estimates of a training step of one aggregated conv with each algorithm, and how much memory is free."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch

from dashfx.ops.fourier.plan import plan_for
from dashfx.ops.geometry import ConvSpec, dense_lattice, dilated_lattices


@dataclass(frozen=True)
class Bytes:
    """What a training step of one conv takes, beside its parameters and input.

    Attributes:
        kept: from the forward pass to the backward pass.
        peak: the most at once, `kept` and all gradients included.
    """

    kept: int
    peak: int


def step_bytes(name: str, spec: ConvSpec, shape: tuple[int, ...], out_channels: int, itemsize: int = 4) -> Bytes:
    """An estimate from the sizes of the tensors that the algorithm makes.

    Within a factor of 2 for the Fourier algorithms and `mixed_results`. Native convs may write out, for an image and
    group per thread, the input under every tap; whether they do is the library's affair, so for `grouped_dilation` and
    `mixed_weights` it is a bound.

    Args:
        name: in `ALGORITHMS`; one that has no formula here is taken for `mixed_results`, which keeps the most.
        shape: of the input, (batch, in, *size).
        itemsize: bytes a value; the Fourier path computes in 4 at least.
    """
    return _step_bytes(name, spec, shape, out_channels, itemsize, torch.get_num_threads())


@lru_cache(maxsize=4096)
def _step_bytes(
    name: str, spec: ConvSpec, shape: tuple[int, ...], out_channels: int, itemsize: int, threads: int
) -> Bytes:
    sizes = _Sizes.of(spec, shape, out_channels)
    if name in ("fourier", "fourier_recompute"):
        return _fourier(spec, shape, out_channels, sizes, max(4, itemsize), recompute=name == "fourier_recompute")
    if name in ("mixed_weights", "grouped_dilation"):
        padded, size = spec.extended(tuple(shape[2:]))
        dense = name == "mixed_weights"
        lattices = (dense_lattice(padded, size),) if dense else dilated_lattices(padded, size)
        return _native(sizes, [math.prod(lattice.shape) for lattice in lattices], itemsize, threads)
    return _one_by_one(spec, shape, sizes, itemsize)


@dataclass(frozen=True)
class _Sizes:
    """Numbers of values: of the input, padded or not, of the output, of one tap, of all weights."""

    x: int
    padded: int
    y: int
    tap: int
    weights: int
    positions: int  # of one output plane
    group_in: int

    @classmethod
    def of(cls, spec: ConvSpec, shape: tuple[int, ...], out_channels: int) -> _Sizes:
        batch, channels, *axes = shape
        padded, size = spec.extended(tuple(axes))
        tap = out_channels * channels // spec.groups
        positions = math.prod(padded.output_size(size))
        weights = tap * sum(candidate.taps for candidate in spec.candidates)
        y, extended = batch * out_channels * positions, batch * channels * math.prod(size)
        return cls(math.prod(shape), extended, y, tap, weights, positions, channels // spec.groups)


def _fourier(
    spec: ConvSpec, shape: tuple[int, ...], out_channels: int, sizes: _Sizes, itemsize: int, *, recompute: bool
) -> Bytes:
    batch, channels, *axes = shape
    plan = plan_for(spec, tuple(axes))
    frames = sizes.tap * sum(math.prod(lattice.shape) for lattice in plan.lattices)
    kept = frames + (sizes.padded if sizes.padded > sizes.x else 0)
    partial = plan.partial_numbers(batch, channels, out_channels)
    held = plan.held(batch, channels, out_channels, itemsize)
    peak = kept + partial + held + frames + sizes.y + sizes.padded + sizes.weights
    return Bytes(itemsize * (kept if recompute else kept + partial), itemsize * peak)


def _native(sizes: _Sizes, taps: list[int], itemsize: int, threads: int) -> Bytes:
    """One conv per entry of `taps`, each of so many taps."""
    kept = sizes.tap * sum(taps) + (sizes.padded if sizes.padded > sizes.x else 0)
    under_taps = threads * sizes.group_in * max(taps) * sizes.positions
    relaid = 2 * sizes.tap * max(taps)  # the largest kernel and its gradient, in the library's own layout
    results = max(min(3, len(taps) + 1) * sizes.y, sizes.y + sizes.padded)
    further = results + sizes.tap * sum(taps) + relaid + under_taps + sizes.x + sizes.weights
    return Bytes(itemsize * kept, itemsize * (kept + further))


def _one_by_one(spec: ConvSpec, shape: tuple[int, ...], sizes: _Sizes, itemsize: int) -> Bytes:
    batch, channels, *axes = shape
    grown = (tuple(n + sum(sides) for n, sides in zip(axes, padding, strict=True)) for padding in spec.paddings)
    copies = [batch * channels * math.prod(size) for size in grown]
    kept = sum(copies) + sizes.y * len(copies)  # each term's padded input, and its result before the coefficient
    further = 2 * sizes.y + 2 * max(copies) + sizes.x + sizes.weights
    return Bytes(itemsize * kept, itemsize * (kept + further))


def free_bytes(device: torch.device) -> int | None:
    """What can still be had on the device; None where the system does not say."""
    if device.type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + cached
    try:
        # Pages that only cache files count as free here; SC_AVPHYS_PAGES leaves them out.
        rows = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        return 1024 * int(rows["MemAvailable"].split()[0])
    except (OSError, KeyError, ValueError):
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


def in_words(count: int) -> str:
    """A number of bytes in three digits.

    >>> in_words(512), in_words(70_400_000), in_words(3_210_000_000)
    ('512 B', '70.4 MB', '3.21 GB')
    """
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            value = count / factor
            return f"{value:.{2 - min(2, int(math.log10(value)))}f} {unit}"
    return f"{count} B"
