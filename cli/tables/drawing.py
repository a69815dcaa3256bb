"""A genotype goes in; each kernel's support as text, to one common scale, comes out."""

from __future__ import annotations

from collections.abc import Iterator

from dashfx.genotype import Genotype
from dashfx.space import DENSE, READ, Candidate

TAP, GAP = "x", "."
AXES = {1: ("time",), 2: ("height", "width"), 3: ("depth", "height", "width")}


def support(kernel: int, dilation: int, scale: int = 1) -> str:
    """Where one axis of a kernel has taps; one character stands for `scale` positions.

    >>> support(3, 3)
    'x..x..x'
    >>> support(3, 3, scale=2)
    'xx.x'
    """
    taps = {tap * dilation // scale for tap in range(kernel)}
    return "".join(TAP if place in taps else GAP for place in range(max(taps) + 1))


def common_scale(genotype: Genotype, width: int) -> int:
    """The fewest positions per character with which every kernel fits into `width` characters."""
    longest = max((max(choice.span) for choice in genotype.values()), default=1)
    return -(-longest // max(1, width))


def drawings(genotype: Genotype, width: int) -> Iterator[tuple[str, str, str]]:
    """(site, axis, drawing), at most `width` characters of drawing; a row for all axes where they are equal."""
    scale = common_scale(genotype, width)
    for name, choice in genotype.items():
        rows = list(_rows(choice, scale))
        for i, (axis, drawing) in enumerate(rows):
            yield name if i == 0 else "", axis, drawing.center(width).rstrip()


def _rows(choice: Candidate, scale: int) -> Iterator[tuple[str, str]]:
    if len(choice.parts) > 1:
        for part in choice.parts:
            yield from ((f"{part}, {axis}" if axis else str(part), text) for axis, text in _rows(part, scale))
        return
    if not READ.get(choice.family, "all"):
        yield choice.family, ""
        return
    if choice.family != DENSE:
        dense = Candidate(choice.kernel, choice.dilation)
        yield from ((f"{choice.family}, {axis}" if axis else choice.family, text) for axis, text in _rows(dense, scale))
        return
    sizes = list(zip(choice.kernel, choice.dilation, strict=True))
    if len(set(sizes)) == 1:
        yield "" if choice.ndim == 1 else "each axis", support(*sizes[0], scale)
        return
    for axis, (kernel, dilation) in zip(AXES[choice.ndim], sizes, strict=True):
        yield axis, support(kernel, dilation, scale)
