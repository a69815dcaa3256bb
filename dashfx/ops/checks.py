"""Validation of the settings of an AggConv: ints or values per axis become tuples, and what cannot hold is refused."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from torch import Tensor

from dashfx.errors import SpaceError, did_you_mean
from dashfx.ops.geometry import ConvSpec, Size
from dashfx.space import Candidate, Padding

PADDING_MODES = ("zeros", "circular", "reflect", "replicate")
Sides = int | Sequence[int] | Sequence[tuple[int, int]]


def axes_of(value: Sides | None) -> int:
    """How many axes a setting shows; an int or None shows one."""
    return 1 if value is None or isinstance(value, int) else len(value)


def per_axis(value: int | Sequence[int], ndim: int, what: str) -> Size:
    axes = (value,) if isinstance(value, int) else tuple(value)
    if len(axes) not in (1, ndim) or any(not isinstance(v, int) or v < 1 for v in axes):
        raise SpaceError(f"AggConv: {what} {value!r} does not fit {ndim} axes; give whole numbers of at least 1")
    return axes * ndim if len(axes) == 1 else axes


def sides(padding: Sides, ndim: int) -> Padding:
    """Padding as (left, right) per axis, from an int, ints or pairs."""
    axes: tuple[int | tuple[int, int], ...] = (padding,) if isinstance(padding, int) else tuple(padding)
    pairs = tuple((side, side) if isinstance(side, int) else tuple(side) for side in axes)
    if len(pairs) not in (1, ndim) or any(len(p) != 2 or not all(isinstance(v, int) for v in p) for p in pairs):
        raise SpaceError(
            f"AggConv: padding {padding!r} does not fit {ndim} axes; give an int, one int per axis or "
            "(left, right) per axis"
        )
    spread = pairs * ndim if len(pairs) == 1 else pairs
    return tuple((left, right) for left, right in spread)


def check_channels(in_channels: int, out_channels: int, groups: int) -> None:
    if groups < 1 or in_channels % groups or out_channels % groups:
        raise SpaceError(f"AggConv: {in_channels} -> {out_channels} channels cannot be split into {groups} groups")


def check_names(padding_mode: str, algorithms: Collection[str], algorithm: str) -> None:
    if padding_mode not in PADDING_MODES:
        near = did_you_mean(padding_mode, PADDING_MODES)
        raise SpaceError(f"AggConv: no padding mode {padding_mode!r}{near}; there are {', '.join(PADDING_MODES)}")
    if algorithm not in algorithms:
        near = did_you_mean(algorithm, algorithms)
        raise SpaceError(f"AggConv: no algorithm {algorithm!r}{near}; there are {', '.join(algorithms)}")


def check_input(where: str, x: Tensor, in_channels: int, spec: ConvSpec, original: Candidate, padding: Padding) -> None:
    """Whether a conv takes an input (batch, channels, *size).

    Raises:
        SpaceError: its channels, axes or size do not fit.
    """
    if x.dim() != spec.ndim + 2 or x.shape[1] != in_channels:
        axes = ", *" * spec.ndim
        raise SpaceError(
            f"{where}input {tuple(x.shape)} does not fit; ({in_channels}{axes}) with or without a batch axis in front "
            "is needed"
        )
    size = tuple(x.shape[2:])
    if min(spec.output_size(size)) < 1:
        raise SpaceError(
            f"{where}input size {size} is smaller than the kernel {original} with padding {padding}; give a larger "
            "input"
        )
    check_margins(where, spec, original, padding, size)


def check_margins(where: str, spec: ConvSpec, original: Candidate, padding: Padding, size: Size) -> None:
    """Reflect padding must be shorter than the input, circular padding at most as long.

    Raises:
        SpaceError: naming the widest candidate that would fit.
    """
    if spec.padding_mode not in ("reflect", "circular"):
        return
    sign, longest = ("<", -1) if spec.padding_mode == "reflect" else ("<=", 0)
    for n, margins, own, span in zip(size, spec.margins(), padding, original.span, strict=True):
        widest = max(margins)
        if widest <= n + longest:
            continue
        fits = max(1, span + 2 * (n + longest - max(own)))  # padding grows by half of what the span grows
        sign_of_miss = ">=" if sign == "<" else ">"
        raise SpaceError(
            f"{where}padding_mode {spec.padding_mode!r} needs pad {sign} size ({widest} {sign_of_miss} {n}); "
            f"drop candidates wider than {fits} or exclude the site"
        )
