"""The epochs of a run and the candidates of its sites go in; SVG drawings for the report come out.

Curves and the heat map are drawn by matplotlib without pyplot, so nothing global is touched; kernels are a few squares
and are written directly.
"""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dashfx.progress import Epoch
from dashfx.report_html import Html, tag
from dashfx.space import Candidate

INK = "#010203"  # stands for the page's text colour until the drawing is in the page
LOSS, METRIC = "#d97706", "#3b82f6"  # each at least 3:1 against the light and the dark page
WIDTH = 4.6  # inches: a phone shows it at about its own size
LABEL = 22  # characters of a site's name beside the heat map
LINE = 14.0  # pixels: how tall a 1-D kernel is drawn
TAP = 2.5  # pixels: the smallest side of a tap


def curves(epochs: Sequence[Epoch], metric: str, best: int) -> Html:
    """Training loss above, validation metric below, over the epochs of one stage; the epoch `best` is marked."""
    figure = Figure(figsize=(WIDTH, 3.8), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True)
    numbers = [epoch.epoch + 1 for epoch in epochs]
    style = {"linewidth": 1.8, "marker": "o", "markersize": 3 if len(epochs) < 40 else 0}
    upper.plot(numbers, [epoch.loss for epoch in epochs], color=LOSS, **style)
    lower.plot(numbers, [epoch.metric for epoch in epochs], color=METRIC, **style)
    lower.plot(numbers[best], epochs[best].metric, "o", markersize=8, markerfacecolor="none", color=INK)
    upper.set_ylabel("training loss")
    lower.set_ylabel(metric, parse_math=False)
    lower.set_xlabel("epoch")
    lower.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    for axes in (upper, lower):
        _inked(axes)
        axes.grid(color="#888888", alpha=0.3, linewidth=0.6)
    return _svg(figure, f"Training loss and validation {metric} over {len(epochs)} epochs")


def heat_map(epochs: Sequence[Epoch]) -> Html:
    """Each site's largest coefficient over the search, a row a site; a dot where the candidate that has it changed."""
    names = list(epochs[-1].mixtures)
    values = np.array([[epoch.mixtures.get(name, (np.nan, ""))[0] for epoch in epochs] for name in names])
    height = 1.3 + 0.22 * len(names)
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    axes = figure.subplots()
    extent = (0.5, len(epochs) + 0.5, len(names) - 0.5, -0.5)
    image = axes.imshow(values, aspect="auto", vmin=0, vmax=1, cmap="viridis", interpolation="nearest", extent=extent)
    marks = [(epochs[e].epoch + 1, names.index(name)) for e, name in changes(epochs)]
    if marks:
        axes.scatter(
            [x for x, _ in marks], [y for _, y in marks], s=9, color="white", edgecolors="black", linewidths=0.5
        )
    axes.set_yticks(range(len(names)), [_short(name) for name in names], parse_math=False)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlabel("epoch")
    bar = figure.colorbar(image, ax=axes, orientation="horizontal", fraction=0.1 / height, aspect=30, pad=0.02)
    bar.set_label("largest coefficient")
    for each in (axes, bar.ax):
        _inked(each)
    return _svg(figure, "Largest coefficient of each site over the search")


def climb(values: Sequence[float | None], best: Sequence[float | None], name: str) -> Html:
    """Every evaluated value as a dot, and the best so far as a line; None leaves a gap."""
    figure = Figure(figsize=(WIDTH, 2.6), layout="constrained")
    axes = figure.subplots()
    numbers = range(1, len(values) + 1)
    axes.plot(numbers, [np.nan if v is None else v for v in values], "o", markersize=3, color=LOSS, alpha=0.6)
    axes.step(numbers, [np.nan if v is None else v for v in best], where="post", linewidth=1.8, color=METRIC)
    axes.set_ylabel(name, parse_math=False)
    axes.set_xlabel("evaluation")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    _inked(axes)
    axes.grid(color="#888888", alpha=0.3, linewidth=0.6)
    return _svg(figure, f"The values of {len(values)} evaluations and the best so far")


def changes(epochs: Sequence[Epoch]) -> list[tuple[int, str]]:
    """(index of the epoch, site) wherever a site's leading candidate is not the one of the epoch before."""
    return [
        (i + 1, name)
        for i, (before, after) in enumerate(itertools.pairwise(epochs))
        for name, (_, candidate) in after.mixtures.items()
        if name in before.mixtures and before.mixtures[name][1] != candidate
    ]


def kernel(candidate: Candidate, scale: float, kind: str) -> Html:
    """The taps of `candidate` over its span, `scale` pixels a position; `kind` is the CSS class of the taps.

    A 1-D kernel is a line of taps; of a 3-D kernel the last two axes are drawn.
    """
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


def common_scale(candidates: Sequence[Candidate], ndim: int) -> float:
    """Pixels a position such that the largest drawing still fits its card; the same for all, so that they compare."""
    largest = max((span for candidate in candidates for span in candidate.span[-2:]), default=1)
    return min(10.0, (260.0 if ndim == 1 else 150.0) / largest)


def _axis(candidate: Candidate, axis: int) -> list[int]:
    """The positions of the taps along an axis; a single one where the kernel has no such axis."""
    if candidate.ndim < -axis:
        return [0]
    return [tap * candidate.dilation[axis] for tap in range(candidate.kernel[axis])]


def _inked(axes: Axes) -> None:
    """Text, ticks and frame in the page's colour, nothing behind them."""
    axes.patch.set_visible(False)
    axes.tick_params(colors=INK, labelsize=8.5)
    axes.spines[:].set_color(INK)
    axes.spines[:].set_linewidth(0.6)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set_color(INK)
        label.set_fontsize(9.5)


def _svg(figure: Figure, description: str) -> Html:
    """The figure as an element without ids, links and names of other places, so that several can share a page."""
    file = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": description}):
        figure.savefig(file, format="svg", transparent=True)
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'<g id="[^"]*"', "<g", text)
    text = re.sub(r' (xmlns(:xlink)?|version)="[^"]*"', "", text)
    label = tag("title", description)
    return Html(
        re.sub(r"<svg([^>]*)>", rf'<svg role="img"\1>{_literal(label)}', text, count=1).replace(INK, "currentColor")
    )


def _literal(text: str) -> str:
    """`text` as re.sub takes it for itself."""
    return text.replace("\\", r"\\")


def _short(name: str) -> str:
    """A name that fits beside the heat map; its end tells more than its middle."""
    return name if len(name) <= LABEL else f"{name[:6]}…{name[-(LABEL - 7) :]}"
