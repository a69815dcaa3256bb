"""Candidates go in; drawings of their taps to scale come out, as SVG without any other file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from dashfx.drawing.html import Html, table, tag
from dashfx.space import READ, Candidate

LINE = 14.0  # pixels: how tall a 1-D kernel is drawn
TAP = 2.5  # pixels: the smallest side of a tap
WIRE = {"width": "32", "height": f"{LINE + 4:g}", "viewBox": f"-2 -2 32 {LINE + 4:g}"}  # of what has no taps


def kernel(candidate: Candidate, scale: float, kind: str) -> Html:
    """The taps of `candidate` over its span, `scale` pixels a position; `kind` is the CSS class of the taps.

    A 1-D kernel is a line of taps; of a 3-D kernel the last two axes are drawn, of a shared choice each part by itself.
    What has no kernel is a line: through for a skip, broken for zeros.
    """
    if len(candidate.parts) > 1:
        return Html("".join(tag("div", kernel(part, scale, kind)) for part in candidate.parts))
    if not READ.get(candidate.family, "all"):
        return tag("svg", _through(candidate, 0, LINE / 2, kind), role="img", aria_label=str(candidate), **WIRE)
    rows, columns = _axis(candidate, -2), _axis(candidate, -1)
    side = max(0.86 * scale, TAP)  # so that a tap can be seen at any scale
    tall = side if candidate.ndim > 1 else LINE
    corners = [((x + 0.5) * scale - side / 2, (y + 0.5) * scale - tall / 2) for y in rows for x in columns]
    taps = "".join(f"M{x:.1f} {y:.1f}h{side:.1f}v{tall:.1f}h-{side:.1f}z" for x, y in corners)
    width = scale * (columns[-1] + 1)
    height = scale * (rows[-1] + 1) if candidate.ndim > 1 else LINE
    top = 0.0 if candidate.ndim > 1 else scale / 2 - LINE / 2
    span = tag("rect", class_="span", y=f"{top:.1f}", width=f"{width:.1f}", height=f"{height:.1f}")
    box = f"-2 {top - 2:.1f} {width + 4:.1f} {height + 4:.1f}"
    size = {"width": f"{width + 4:.1f}", "height": f"{height + 4:.1f}", "viewBox": box}
    return tag("svg", span, tag("path", class_=kind, d=taps), role="img", aria_label=str(candidate), **size)


def strip(candidate: Candidate, x: float, y: float, scale: float, kind: str) -> Html:
    """The taps along the longest axis as one thin line that starts at (x, y), for a drawing that holds many.

    The parts of a shared choice lie under each other, centred, within the same height.
    """
    if not READ.get(candidate.family, "all"):
        return _through(candidate, x, y + 2, kind)
    axis = max(range(candidate.ndim), key=lambda i: candidate.span[i])
    side, marks, tall = max(0.8 * scale, 1.5), "", 4 / len(candidate.parts)
    for row, part in enumerate(candidate.parts):
        left = x + (candidate.extent[axis] - part.extent[axis]) // 2 * scale
        top = y + row * tall
        taps = _axis(part, axis - candidate.ndim)
        marks += "".join(f"M{left + tap * scale:.1f} {top:.1f}h{side:.1f}v{tall:.3g}h-{side:.1f}z" for tap in taps)
    back = tag("rect", class_="span", x=x, y=y, width=f"{scale * candidate.span[axis]:.1f}", height=4)
    return Html(back + tag("path", class_=kind, d=marks))


def _through(candidate: Candidate, x: float, y: float, kind: str) -> Html:
    """A line from which no taps stand out."""
    pieces = [(0, 9), (19, 9)] if candidate.family == "zero" else [(0, 28)]
    marks = "".join(f"M{x + at:.1f} {y - 0.75:.2f}h{wide}v1.5h-{wide}z" for at, wide in pieces)
    return tag("path", class_=kind, d=marks)


def choices(chosen: Mapping[str, Candidate], own: Mapping[str, Candidate], width: float = 240) -> Html:
    """A row a site: its choice, and its taps under those of its own kernel where that is known, all at one scale."""
    scale = common_scale([*chosen.values(), *own.values()], width)
    rows = []
    for name, choice in chosen.items():
        lines = [*([strip(own[name], 0, 1, scale, "own")] if name in own else []), strip(choice, 0, 8, scale, "chosen")]
        drawing = tag("svg", *lines, width=width + 4, height=14, role="img", aria_label=str(choice))
        rows.append((name, *([own[name]] if own else []), choice, drawing))
    return table(rows, ("site", *(["own"] if own else []), "chosen", "taps"))


def common_scale(candidates: Iterable[Candidate], width: float) -> float:
    """Pixels a position such that the largest drawing is `width` wide; the same for all, so that they compare."""
    largest = max((span for candidate in candidates for span in candidate.span), default=1)
    return min(10.0, width / largest)


def shortened(name: str, length: int) -> str:
    """A name of at most `length` characters; its end tells more than its middle."""
    return name if len(name) <= length else f"{name[:6]}…{name[-(length - 7) :]}"


def _axis(candidate: Candidate, axis: int) -> list[int]:
    """The positions of the taps along an axis; a single one where the kernel has no such axis."""
    if candidate.ndim < -axis:
        return [0]
    return [tap * candidate.dilation[axis] for tap in range(candidate.kernel[axis])]
