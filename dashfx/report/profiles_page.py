"""Page of performance profiles, bars and ranks of methods over tasks, with PNGs and a CSV."""

from __future__ import annotations

import csv
import io
import math
import statistics
from collections.abc import Callable
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from dashfx.drawing.html import Html, items, page, section, table, tag
from dashfx.report.figures import WIDTH, as_svg, inked
from dashfx.report.profiles import Cell, Standings
from dashfx.run.folder import write_text

# Apart from each other and at least 3:1 against the light and the dark page, also for most colour-blind readers.
COLOURS = ("#6b7f94", "#d97706", "#3b82f6", "#0d9488", "#c026d3", "#8d7a3a", "#e11d48", "#5b8c2a")
FINE, COARSE = (1, 1.1, 1.2, 1.3, 1.4, 1.5), (1, 1.5, 2, 3, 4, 6, 8, 12, 16)  # ticks of tau
LARGEST = 16.0  # the end of the profile's axis where some method is further behind


def write_profiles(folder: Path, standings: Standings) -> list[Path]:
    """Write `profiles.html`, the figures as PNG and `standings.csv`; their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    figures = {"profiles": profile_figure(standings), "errors": error_figure(standings)}
    paths = [folder / "profiles.html", folder / "standings.csv"]
    write_text(paths[0], profile_page(standings, figures))
    write_text(paths[1], standings_csv(standings))
    for name, figure in figures.items():
        paths.append(folder / f"{name}.png")
        figure.savefig(paths[-1], dpi=200, facecolor="white")
    return paths


def profile_page(standings: Standings, figures: dict[str, Figure]) -> str:
    title = f"{len(standings.methods)} methods on {len(standings.tasks)} tasks"
    about = (
        "Each curve is the share of tasks on which the method's error is at most tau times the lowest error of any "
        "method there (Dolan and More): at tau = 1 how often it is the best, ties included, and the higher the better. "
        "The error of a metric to maximise is what it misses to 1. All figures are of the test part."
    )
    drawn = [as_svg(figure, f"The {name} of {title}") for name, figure in figures.items()]
    missing = [f"{task}: no run of {method}, which counts as worse than any" for task, method in standings.missing]
    parts = [
        tag("h1", title),
        section("Performance profiles", tag("p", about, class_="soft"), tag("div", *drawn, class_="figures")),
        *([section("Missing", items(missing, class_="warnings"))] if missing else []),
        section("Metrics", tag("p", _ABOUT_CELLS, class_="soft"), tag("div", _metrics(standings), class_="numbers")),
        section("Ranks", tag("p", _ABOUT_RANKS, class_="soft"), tag("div", _ranks(standings), class_="numbers")),
    ]
    return page(f"dashfx: {title}", parts)


_ABOUT_CELLS = "Mean over the seeds, ± their standard deviation (n - 1), and the number of seeds; the best is bold."
_ABOUT_RANKS = "By the mean error, from 1; equal methods share the mean of their ranks."


def _metrics(standings: Standings) -> Html:
    rows = []
    for task, metric in standings.tasks.items():
        best = [rank == min(standings.ranks(task)) for rank in standings.ranks(task)]
        cells = [cell_text(standings.cells.get((task, method))) for method in standings.methods]
        shown = [tag("b", cell) if top else cell for cell, top in zip(cells, best, strict=True)]
        rows.append((task, metric, *shown))
    return table(rows, ("task", "metric", *standings.methods))


def _ranks(standings: Standings) -> Html:
    ranks = {task: standings.ranks(task) for task in standings.tasks}
    rows = [(task, *(f"{rank:g}" for rank in row)) for task, row in ranks.items()]
    means = [statistics.mean(column) for column in zip(*ranks.values(), strict=True)]
    return table([*rows, ("mean", *(tag("b", f"{mean:.2f}") for mean in means))], ("task", *standings.methods))


def cell_text(cell: Cell | None) -> str:
    """A cell of a table: "0.8120 ± 0.0031 (3)"."""
    if cell is None:
        return "no run"
    deviation = f" ± {cell.deviation:.4f}" if cell.deviation is not None else ""
    return f"{cell.mean:.4f}{deviation} ({cell.n})"


def standings_csv(standings: Standings) -> str:
    """A row a task and method: metric, mean, deviation, seeds, error, error over the lowest, rank."""
    file = io.StringIO()
    rows = csv.writer(file, lineterminator="\n")
    rows.writerow(("task", "method", "metric", "mean", "deviation", "seeds", "error", "ratio", "rank"))
    for task, metric in standings.tasks.items():
        places = zip(standings.methods, standings.ratios(task), standings.ranks(task), strict=True)
        for method, ratio, rank in places:
            cell = standings.cells.get((task, method))
            facts = (cell.mean, cell.deviation, cell.n, cell.error) if cell else (None, None, 0, None)
            rows.writerow((task, method, metric.split(" (")[0], *facts, ratio, rank))
    return file.getvalue()


def profile_figure(standings: Standings) -> Figure:
    """The profile of each method over tau, with a logarithmic axis."""
    finite = [r for task in standings.tasks for r in standings.ratios(task) if math.isfinite(r)]
    end = max(1.1, min(LARGEST, 1.05 * max(finite)))
    steps = sorted({1.0, end, *(ratio for ratio in finite if ratio <= end)})
    figure = Figure(figsize=(WIDTH, 3.6), layout="constrained")
    axes = figure.subplots()
    for i, method in enumerate(standings.methods):
        # A little apart, so that equal curves are seen to be several.
        shares = np.array(standings.profile(method, steps)) + 0.004 * i
        axes.step(steps, shares, where="post", linewidth=1.8, color=_colour(i), label=method)
    axes.set_xscale("log")
    ticks = [tick for tick in (FINE if end < 1.6 else COARSE) if tick <= end]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set(xlim=(1, end), ylim=(-0.02, 1.05), xlabel="tau", ylabel="share of tasks within tau of the best")
    axes.grid(color="#888888", alpha=0.3, linewidth=0.6)
    return _finished(figure, axes.legend)


def error_figure(standings: Standings) -> Figure:
    """A group of bars a task: each method's error over the lowest one; a method without runs has none."""
    n = len(standings.methods)
    figure = Figure(figsize=(WIDTH, 1.2 + 0.16 * (n + 1) * len(standings.tasks)), layout="constrained")
    axes = figure.subplots()
    for i, method in enumerate(standings.methods):
        ran = [(task, method) in standings.cells for task in standings.tasks]
        ratios = [min(standings.ratios(t)[i], LARGEST) * there for t, there in zip(standings.tasks, ran, strict=True)]
        places = [place + (i - (n - 1) / 2) * 0.8 / n for place in range(len(ratios))]
        axes.barh(places, ratios, height=0.72 / n, color=_colour(i), label=method)
    axes.axvline(1, color="#888888", linewidth=0.8)
    axes.set_yticks(range(len(standings.tasks)), list(standings.tasks), parse_math=False)
    axes.invert_yaxis()
    axes.set_xlabel("error over the lowest of the task")
    return _finished(figure, axes.legend)


def _finished(figure: Figure, legend: Callable[..., object]) -> Figure:
    legend(fontsize=8.5, frameon=False, labelcolor="#010203", loc="best")
    for axes in figure.axes:
        inked(axes)
    return figure


def _colour(i: int) -> str:
    return COLOURS[i % len(COLOURS)]
