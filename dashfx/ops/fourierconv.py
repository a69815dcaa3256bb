"""Plain convs that the Fourier path computes while they are trained: large kernels take PyTorch several times as long.

A conv changes its class for the time: parameters, names, hooks and copies stay as they are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from dashfx.convs import read_padding, read_padding_mode
from dashfx.errors import SpaceError
from dashfx.hosting import input_of
from dashfx.ops.aggconv import AggConv, sites_of
from dashfx.ops.algorithms import ALGORITHMS
from dashfx.ops.autotune import Tuning, tune
from dashfx.ops.geometry import ConvSpec
from dashfx.ops.tuningtable import Entry, TuningTable
from dashfx.space import Candidate
from dashfx.tracing import evaluation

LARGE = 3  # kernels of at most so many taps an axis are left to PyTorch without a measurement
MARGIN = 1.25  # so many times faster alone: in a network caches and memory are shared
BY_FOURIER = {"fourier", "fourier_recompute"}


class _ByFourier(_ConvNd):
    _algorithm: str

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if input.dim() != weight.dim():  # without a batch axis
            return super()._conv_forward(input, weight, bias)
        return ALGORITHMS[self._algorithm](input, [weight], weight.new_ones(1), _spec_of(self), bias)


class FourierConv1d(_ByFourier, nn.Conv1d): ...


class FourierConv2d(_ByFourier, nn.Conv2d): ...


class FourierConv3d(_ByFourier, nn.Conv3d): ...


KINDS: dict[type, type[_ByFourier]] = {nn.Conv1d: FourierConv1d, nn.Conv2d: FourierConv2d, nn.Conv3d: FourierConv3d}


@contextmanager
def computed_by(model: nn.Module, choices: Mapping[str, str]) -> Iterator[None]:
    """Inside, the convs of these names are computed by these algorithms."""
    convs = [(model.get_submodule(name), algorithm) for name, algorithm in choices.items()]
    plain = [type(conv) for conv, _ in convs]
    for conv, algorithm in convs:
        conv.__class__ = KINDS[type(conv)]
        conv._algorithm = algorithm  # type: ignore[assignment]
    try:
        yield
    finally:
        for (conv, _), kind in zip(convs, plain, strict=True):
            conv.__class__ = kind
            del conv._algorithm


def faster_convs(
    model: nn.Module, example: Any, *, kept: TuningTable | None = None, cache: Path | None = None
) -> tuple[dict[str, str], Tuning | None]:
    """Names of convs that the Fourier path computes clearly faster for batches like `example`, with their algorithms.

    Forward and backward are measured as `tune` does, with its `kept` and `cache`. No tuning where no conv is large, or
    where memory is short by its estimate.
    """
    uses = _uses(model, example)
    if not uses:
        return {}, None
    stand_ins = [_stand_in(cast(_ConvNd, model.get_submodule(name))) for name in uses]
    together = _SideBySide(stand_ins, list(uses.values()))
    try:
        tuning = tune(together, example, kept=kept, cache=cache)
    except SpaceError:
        return {}, None
    name_of = dict(zip(sites_of(together), uses, strict=True))
    found: dict[str, set[str]] = {name: set() for name in uses}
    for place in tuning.places:
        entry = tuning.entry(place)
        for site in place.sites:
            found[name_of[site]].add(entry.choice if _pays(entry) else "")
    return {name: only for name, (only, *others) in found.items() if only and not others}, tuning


def _pays(entry: Entry) -> bool:
    """Whether a Fourier algorithm is faster by more than the measurement of a single conv can be trusted."""
    own, others = entry.seconds.get(entry.choice), [t for n, t in entry.seconds.items() if n not in BY_FOURIER]
    return entry.choice in BY_FOURIER and own is not None and MARGIN * own <= min(others, default=math.inf)


def _uses(model: nn.Module, example: Any) -> dict[str, list[torch.Size]]:
    """Input sizes of the convs with large kernels, by name."""
    found: dict[str, list[torch.Size]] = {}

    def record(name: str) -> Any:
        def hook(conv: nn.Module, args: tuple[Any, ...], options: dict[str, Any]) -> None:
            x = input_of((args, options))
            if x.dim() == cast(_ConvNd, conv).weight.dim():
                found.setdefault(name, []).append(x.shape)

        return hook

    large = {n: m for n, m in model.named_modules() if type(m) in KINDS and max(cast(_ConvNd, m).kernel_size) > LARGE}
    handles = [conv.register_forward_pre_hook(record(name), with_kwargs=True) for name, conv in large.items()]
    try:
        if large:
            with evaluation(model):
                model(*(example if isinstance(example, tuple) else (example,)))
    finally:
        for handle in handles:
            handle.remove()
    return found


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


class _SideBySide(nn.Module):
    """Convs that are each called with inputs of the sizes that they had in the model."""

    def __init__(self, sites: list[AggConv], sizes: list[list[torch.Size]]) -> None:
        super().__init__()
        self.sites, self._sizes = nn.ModuleList(sites), sizes

    def forward(self, *_: Any) -> None:
        for site, sizes in zip(self.sites, self._sizes, strict=True):
            for size in sizes:
                site(next(site.parameters()).new_zeros(size))
