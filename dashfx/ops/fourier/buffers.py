"""Buffer pool of the Fourier path: the memory in which a plan is carried out, slice of frequencies by slice.

On a CPU all convs of a thread use the same memory in turns, so it stays in a core's cache. Views of it, and the
matrices that go with them, are made once for each plan and then used at every step.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

import torch
from torch import Tensor

from dashfx.ops.fourier.plan import FourierPlan
from dashfx.ops.fourier.products import Channels, Product
from dashfx.ops.fourier.transforms import Slice

MOST_KEPT = 64 << 20  # bytes of partial spectra of outputs that are kept from step to step; larger ones are made anew
PLANS = 256  # that are remembered


@dataclass(frozen=True)
class PlanSlice:
    """The operands in a slice; the taps of all phases take turns with the same memory."""

    inputs: Slice
    taps: tuple[Slice, ...]
    outputs: Slice
    output: Tensor  # the spectrum itself
    product: Product


@dataclass(frozen=True)
class BufferPool:
    """The buffers of one plan for so many channels, and the slices that work in them.

    Attributes:
        step: blocks of frequencies in a slice.
        slices: all of them, in order.
        scratch: memory of the slices, free for others before the first and after the last.
        storage: memory for the partial spectra of the outputs; empty where that would be too much to keep.
        constants: real parts of the outputs at frequency 0, while the first slice is done: (batch, channels).
    """

    step: int
    slices: list[PlanSlice]
    scratch: Tensor
    storage: Tensor
    constants: Tensor


def pool_for(plan: FourierPlan, channels: Channels, like: Tensor) -> BufferPool:
    """On a CPU the same each time, for each thread its own."""
    step = plan.blocks_in_slice(channels.numbers, like.element_size(), like.device.type)
    if like.device.type != "cpu":
        return _built(plan, channels, step, like.new_empty(sum(_sizes(plan, channels, step))))
    key = plan, channels, step, like.dtype
    found = _kept.pools.get(key)
    if found is None:
        found = _kept.pools[key] = _pooled(plan, channels, step, like.dtype)
    return found


def release() -> None:
    """Forgets what the calling thread keeps from step to step."""
    _kept.pools.clear()
    _kept.memory = torch.empty(0, dtype=torch.uint8)


class _Kept(threading.local):
    def __init__(self) -> None:
        self.pools: dict[tuple[FourierPlan, Channels, int, torch.dtype], BufferPool] = {}
        self.memory = torch.empty(0, dtype=torch.uint8)


_kept = _Kept()


def _pooled(plan: FourierPlan, channels: Channels, step: int, dtype: torch.dtype) -> BufferPool:
    held = plan.outputs.held(channels.y_rows)
    count = sum(_sizes(plan, channels, step)) + (held if held * dtype.itemsize <= MOST_KEPT else 0)
    size = count * dtype.itemsize
    with torch.inference_mode(False):  # a tensor made in inference mode could not be used outside of it
        if size > len(_kept.memory) or len(_kept.pools) == PLANS:
            most = max(size, len(_kept.memory))
            release()
            _kept.memory = torch.empty(most, dtype=torch.uint8)
        return _built(plan, channels, step, _kept.memory[:size].view(dtype))


def _sizes(plan: FourierPlan, channels: Channels, step: int) -> list[int]:
    """Numbers in a slice of the inputs, the kernels, the outputs, and of the product itself."""
    numbers = 2 * channels.x_rows, 2 * channels.k_rows, 2 * channels.y_rows, channels.own
    return [step * plan.outputs.block * count for count in numbers]


def _built(plan: FourierPlan, channels: Channels, step: int, memory: Tensor) -> BufferPool:
    sizes = _sizes(plan, channels, step)
    scratch, storage = memory.split([sum(sizes), len(memory) - sum(sizes)])
    *spectra, own = scratch.split(sizes)
    spectra = [part.view(step * plan.outputs.block, 2, -1) for part in spectra]
    slices = []
    for start in range(0, plan.outputs.blocks, step):
        blocks = range(start, min(start + step, plan.outputs.blocks))
        x, k, y = (spectrum[: len(blocks) * plan.outputs.block] for spectrum in spectra)
        taps = tuple(phase.taps.at(blocks, k) for phase in plan.phases)
        product = channels.product(x, k, y, own)
        slices.append(PlanSlice(plan.inputs.at(blocks, x), taps, plan.outputs.at(blocks, y), y, product))
    return BufferPool(step, slices, scratch, storage, channels.bias(spectra[2][0, 0]))
