"""`dashfx bench-ops`: the suite of layers is run by every algorithm; a table per layer and a PNG come out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dashfx.cli import render
from dashfx.cli.options import shared as options
from dashfx.cli.tables import shared as tables
from dashfx.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from dashfx.ops.autotune.suite import Layer, Measured

Layers = Annotated[list[str] | None, typer.Option(help="only layers whose name fits, such as '1-D*'", metavar="GLOB")]
Ways = Annotated[
    str | None, typer.Option(help="only these, such as fourier,grouped_dilation; 'auto' is the tuned choice")
]
Repeats = Annotated[int, typer.Option(help="timed runs of each after one warm-up, fewer where they take long", min=1)]
CpuTime = Annotated[
    bool, typer.Option("--cpu-time", help="processor time in place of the clock's, for a CPU that others use too")
]
Out = Annotated[Path, typer.Option(help="the picture")]


def bench_ops(
    layers: Layers = None,
    algorithms: Ways = None,
    repeats: Repeats = 5,
    device: options.Device = None,
    cpu_time: CpuTime = False,
    out: Out = Path("bench-ops.png"),
) -> None:
    """Time the algorithms on this machine, layer by layer: forward + backward, beside a plain conv of 3 taps."""
    if out.suffix != ".png" or not out.absolute().parent.is_dir():
        raise ConfigError(f"--out {out}: give a .png file in a folder that exists")
    from dashfx.ops.autotune.suite import COMPARED, PLAIN, SUITE, WAYS, compare
    from dashfx.ops.autotune.table import machine
    from dashfx.train.processes import make_accelerator

    chosen = [layer for layer in SUITE if not layers or any(fnmatchcase(layer.name, glob) for glob in layers)]
    if not chosen:
        raise ConfigError(f"--layers {' '.join(layers or ())}: no layer fits; the first is '{SUITE[0].name}'")
    ways = [name.strip() for name in algorithms.split(",")] if algorithms else list(COMPARED[1:])
    for name in ways:
        if name not in WAYS:
            raise ConfigError(f"--algorithms {name}: no such algorithm{did_you_mean(name, WAYS)}")
    place = make_accelerator(device or "auto").device
    render.line(f"{machine(place)}; {repeats} runs each, median, spread is half the distance of the quartiles")
    clock = time.process_time if cpu_time else time.perf_counter
    results: list[tuple[Layer, list[Measured]]] = []
    for layer in chosen:
        results.append((layer, compare(layer, (PLAIN, *ways), device=place, repeats=repeats, clock=clock)))
        render.show(tables.layer(*results[-1]))
    render.show(tables.suite([measured for _, measured in results]))
    draw(results, machine(place), out)
    render.line(f"picture: {out}")


def draw(results: Sequence[tuple[Layer, Sequence[Measured]]], title: str, out: Path) -> None:
    """A group of bars per layer: the time of each algorithm relative to the plain conv's, on a logarithmic axis."""
    from matplotlib.figure import Figure

    ways = [each.way for each in results[0][1][1:]]
    figure = Figure(figsize=(8, 1.5 + 0.22 * len(results) * (len(ways) + 1)), layout="constrained")
    axes = figure.subplots()
    height = 0.8 / len(ways)
    for bar, way in enumerate(ways):
        times = [measured[1 + bar].time.median / measured[0].time.median for _, measured in results]
        axes.barh([row + bar * height for row in range(len(results))], times, 0.9 * height, label=way)
    axes.set_yticks([row + 0.4 - height / 2 for row in range(len(results))], [layer.name for layer, _ in results])
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlabel("forward + backward, relative to a plain conv of 3 taps")
    axes.set_title(title, fontsize="small")
    axes.grid(axis="x", alpha=0.3)
    axes.legend()
    figure.savefig(out, dpi=150)
