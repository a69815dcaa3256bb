"""Figures of the report as SVG, drawn by matplotlib without pyplot: curves and a heat map."""

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

from dashfx.drawing.html import Html, tag
from dashfx.drawing.kernels import shortened
from dashfx.train.progress import Epoch

INK = "#010203"  # stands for the page's text colour until the drawing is in the page
LOSS, METRIC = "#d97706", "#3b82f6"  # each at least 3:1 against the light and the dark page
WIDTH = 4.6  # inches: a phone shows it at about its own size
LABEL = 22  # characters of a site's name beside the heat map


Limits = tuple[tuple[float, float], tuple[float, float]]  # of the loss and of the metric


def limits(epochs: Sequence[Epoch]) -> Limits | None:
    """Axes that hold the curves of all these epochs, so that stages can be compared; None without a finite value."""
    ends = []
    for values in ([epoch.loss for epoch in epochs], [epoch.metric for epoch in epochs]):
        finite = [value for value in values if np.isfinite(value)]
        if not finite:
            return None
        room = 0.05 * (max(finite) - min(finite)) or 0.05 * abs(max(finite)) or 0.05
        ends.append((min(finite) - room, max(finite) + room))
    return ends[0], ends[1]


def curves(epochs: Sequence[Epoch], metric: str, best: int, shared: Limits | None = None) -> Html:
    """Training loss above, validation metric below, over the epochs of one stage; the epoch `best` is marked.

    Args:
        shared: the limits of both axes, for curves that are compared with others.
    """
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
    for axes, ends in zip((upper, lower), shared or (None, None), strict=True):
        if ends is not None:
            axes.set_ylim(ends)
        inked(axes)
        axes.grid(color="#888888", alpha=0.3, linewidth=0.6)
    return as_svg(figure, f"Training loss and validation {metric} over {len(epochs)} epochs")


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
    axes.set_yticks(range(len(names)), [shortened(name, LABEL) for name in names], parse_math=False)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlabel("epoch")
    bar = figure.colorbar(image, ax=axes, orientation="horizontal", fraction=0.1 / height, aspect=30, pad=0.02)
    bar.set_label("largest coefficient")
    for each in (axes, bar.ax):
        inked(each)
    return as_svg(figure, "Largest coefficient of each site over the search")


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
    inked(axes)
    axes.grid(color="#888888", alpha=0.3, linewidth=0.6)
    return as_svg(figure, f"The values of {len(values)} evaluations and the best so far")


def changes(epochs: Sequence[Epoch]) -> list[tuple[int, str]]:
    """(index of the epoch, site) wherever a site's leading candidate is not the one of the epoch before."""
    return [
        (i + 1, name)
        for i, (before, after) in enumerate(itertools.pairwise(epochs))
        for name, (_, candidate) in after.mixtures.items()
        if name in before.mixtures and before.mixtures[name][1] != candidate
    ]


def inked(axes: Axes) -> None:
    """Text, ticks and frame in the page's colour, nothing behind them."""
    axes.patch.set_visible(False)
    axes.tick_params(colors=INK, labelsize=8.5)
    axes.spines[:].set_color(INK)
    axes.spines[:].set_linewidth(0.6)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set_color(INK)
        label.set_fontsize(9.5)


def as_svg(figure: Figure, description: str) -> Html:
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
