"""Plain convs by the Fourier path while they are trained: large kernels take PyTorch several times as long.

A conv changes its class for the time: parameters, names, hooks and copies stay as they are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from dashfx.errors import SpaceError
from dashfx.frontend.convs import read_padding, read_padding_mode
from dashfx.ops.aggconv import AggConv
from dashfx.ops.algorithms import ALGORITHMS, Algorithm
from dashfx.ops.autotune.choose import BUDGET, Tuning, tune
from dashfx.ops.autotune.table import Entry, TuningTable
from dashfx.ops.geometry import ConvSpec
from dashfx.space import Candidate

LARGE = 3  # kernels of at most so many taps an axis are left to PyTorch without a measurement
MARGIN = 1.25  # so many times faster alone: in a network caches and memory are shared
BY_FOURIER = {"fourier", "fourier_recompute"}


class _ByFourier(_ConvNd):
    _algorithm: Algorithm
    _spec: ConvSpec

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if input.dim() != weight.dim():  # without a batch axis
            return super()._conv_forward(input, weight, bias)
        return self._algorithm(input, [weight], weight.new_ones(1), self._spec, bias)


class FourierConv1d(_ByFourier, nn.Conv1d): ...


class FourierConv2d(_ByFourier, nn.Conv2d): ...


class FourierConv3d(_ByFourier, nn.Conv3d): ...


KINDS: dict[type, type[_ByFourier]] = {nn.Conv1d: FourierConv1d, nn.Conv2d: FourierConv2d, nn.Conv3d: FourierConv3d}


@contextmanager
def computed_by(model: nn.Module, choices: Mapping[str, str]) -> Iterator[None]:
    """Inside, the convs of these names are computed by these algorithms."""
    convs: dict[Any, type] = {}
    for name, algorithm in choices.items():
        conv: Any = model.get_submodule(name)
        convs[conv] = type(conv)
        conv.__class__ = KINDS[type(conv)]
        conv._algorithm, conv._spec = ALGORITHMS[algorithm], _spec_of(conv)
    try:
        yield
    finally:
        for conv, kind in convs.items():
            conv.__class__ = kind
            del conv._algorithm, conv._spec


def faster_convs(
    model: nn.Module,
    example: Any,
    *,
    kept: TuningTable | None = None,
    cache: Path | None = None,
    budget: float = BUDGET,
) -> tuple[dict[str, str], Tuning | None]:
    """Names of convs that the Fourier path computes clearly faster for batches like `example`, with their algorithms.

    Forward and backward are measured as `tune` does, with its `kept`, `cache` and `budget`. No tuning where no conv is
    large, or where memory is short by its estimate.
    """
    sites = {name: _stand_in(conv) for name, conv in large_convs(model).items()}
    if not sites:
        return {}, None
    try:
        tuning = tune(model, example, sites=sites, kept=kept, cache=cache, budget=budget)
    except SpaceError:
        return {}, None
    found: dict[str, set[str]] = {}
    for place in tuning.places:
        entry = tuning.entry(place)
        for name in place.sites:
            found.setdefault(name, set()).add(entry.choice if _pays(entry) else "")
    return {name: only for name, (only, *others) in found.items() if only and not others}, tuning


def large_convs(model: nn.Module) -> dict[str, _ConvNd]:
    """The plain convs by name that may be faster by the Fourier path.

    Depthwise ones are not among them: where they are faster alone, a network with them is slower.
    """
    convs = {name: module for name, module in model.named_modules() if type(module) in KINDS}
    return {name: conv for name, conv in convs.items() if max(conv.kernel_size) > LARGE and not _depthwise(conv)}


def _depthwise(conv: _ConvNd) -> bool:
    return conv.groups == conv.in_channels > 1


def _pays(entry: Entry) -> bool:
    """Whether a Fourier algorithm is faster by more than the measurement of a single conv can be trusted."""
    own, others = entry.seconds.get(entry.choice), [t for n, t in entry.seconds.items() if n not in BY_FOURIER]
    return entry.choice in BY_FOURIER and own is not None and MARGIN * own <= min(others, default=math.inf)


def _spec_of(conv: _ConvNd) -> ConvSpec:
    own = Candidate(conv.kernel_size, conv.dilation)
    return ConvSpec((own,), (read_padding(conv),), conv.stride, conv.groups, read_padding_mode(conv))


def _stand_in(conv: _ConvNd) -> AggConv:
    """A mixture of nothing but the conv's own kernel."""
    own = Candidate(conv.kernel_size, conv.dilation)
    return AggConv(
        conv.in_channels,
        conv.out_channels,
        [own],
        stride=conv.stride,
        padding=read_padding(conv),
        original=own,
        groups=conv.groups,
        bias=conv.bias is not None,
        padding_mode=read_padding_mode(conv),
        device=conv.weight.device,
        dtype=conv.weight.dtype,
    )
