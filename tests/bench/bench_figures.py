"""Figures 2 and 3 of the paper with our algorithms beside its own: a JSON file, a picture and a table come out.

    python tests/bench/bench_figures.py [--full] [--depthwise] [--out folder]

A 1-D residual network of width 16 takes training steps (forward, backward, SGD). Figure 2: n = 1000, K the first c of
{3, 5, .., 15}, D the first c of {1, 3, 7, 15, 31, 63, 127}, so c^2 candidates. Figure 3: K = {3, .., 11},
D = {1, 3, 7, 15, 31}, n from 32 on. A third panel holds the largest kernel and dilation and adds candidates between:
4 = {3, 15} x {1, 127} up to 49. Times are the median of `--repeats` steps of one batch after one for warm-up, and half
the distance of the quartiles.

The paper timed the data loader with the step; so does `--loader`. A curve ends at the first step over `--limit`
seconds.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from references import REFERENCES, select_references
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from dashfx.backbones import WRN1d
from dashfx.ops import sites_of
from dashfx.ops.autotune.choose import tune
from dashfx.ops.autotune.table import machine
from dashfx.ops.autotune.timing import peak_bytes, timing
from dashfx.space import SearchSpace
from dashfx.supernet import rewrite

LENGTH = 1000  # of figure 2
KERNELS, DILATIONS = (3, 5, 7, 9, 11, 13, 15), (1, 3, 7, 15, 31, 63, 127)
PLAIN = "plain network"
WAYS = (PLAIN, "auto", "fourier", "grouped_dilation", "mixed_results", *REFERENCES)
PANELS = ("Fig. 2: candidates", "Fig. 3: n", "candidates at fixed reach")
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


@dataclass(frozen=True)
class Point:
    """Milliseconds and most bytes of a step; `parameters` are the bytes of weights among them."""

    x: int
    milliseconds: float
    spread: float
    peak_bytes: int
    parameters: int


@dataclass(frozen=True)
class Curve:
    panel: str
    way: str
    points: list[Point]


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    select_references()
    curves = []
    for panel, axis in panels(options).items():
        for way in options.ways:
            curve = Curve(panel, way, list(measure(axis, way, options)))
            print(
                f"{panel:28} {way:22} " + "  ".join(f"{p.x}: {p.milliseconds:.3g} ms" for p in curve.points), flush=True
            )
            curves.append(curve)
    options.out.mkdir(parents=True, exist_ok=True)
    facts = {"machine": machine(DEVICE), "options": {k: str(v) for k, v in vars(options).items() if k != "out"}}
    (options.out / "figures.json").write_text(json.dumps({**facts, "curves": [asdict(c) for c in curves]}, indent=1))
    draw(curves, facts["machine"], options.out / "figures.png")
    print(f"{facts['machine']}\n{options.out / 'figures.png'}")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="every point of the paper and n up to 65536; an hour")
    parser.add_argument("--depthwise", action="store_true", help="convs with as many inputs as outputs are depthwise")
    parser.add_argument("--loader", action="store_true", help="batches come from a data loader, inside the timing")
    parser.add_argument("--panels", nargs="+", choices=PANELS, default=list(PANELS))
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--counts", type=int, nargs="+", help="c of figure 2, from 1 to 7")
    parser.add_argument("--numbers", type=int, nargs="+", help="n of figure 3")
    parser.add_argument("--batch", type=int, help="images a step; the paper has 128")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--limit", type=float, help="seconds a step, after which a curve ends")
    parser.add_argument("--out", type=Path, default=Path("runs/bench"))
    options = parser.parse_args(arguments)
    full = options.full
    options.counts = options.counts or (list(range(1, 8)) if full else [1, 2, 4, 7])
    options.numbers = options.numbers or [2**i for i in (range(5, 17) if full else (5, 7, 9, 11, 12))]
    options.batch = options.batch or (32 if full else 8)
    options.limit = options.limit or (60.0 if full else 1.0)
    return options


Axis = list[tuple[int, int, SearchSpace]]  # what stands on the axis, n, and the candidates


def panels(options: argparse.Namespace) -> dict[str, Axis]:
    figure2 = [(c * c, LENGTH, SearchSpace.product(KERNELS[:c], DILATIONS[:c])) for c in options.counts]
    space = SearchSpace.product(KERNELS[:5], DILATIONS[:5])
    fixed = [
        (c * c, LENGTH, SearchSpace.product((*KERNELS[: c - 1], 15), (*DILATIONS[: c - 1], 127)))
        for c in options.counts
        if c > 1
    ]
    figure3 = [(n, n, space) for n in options.numbers]
    axes = dict(zip(PANELS, (figure2, figure3, fixed), strict=True))
    return {name: axes[name] for name in options.panels}


def measure(axis: Axis, way: str, options: argparse.Namespace) -> Iterator[Point]:
    for x, n, space in axis:
        model = build(way, n, options.batch, space, options.depthwise)
        fresh = loader(n, options.batch)
        batches = fresh if options.loader else itertools.repeat(next(fresh))
        step = training_step(model, batches)
        found = timing(step, DEVICE, options.repeats, options.limit)
        parameters = sum(p.numel() * p.element_size() for p in model.parameters())
        memory = peak_bytes(step, DEVICE)
        yield Point(x, 1e3 * found.median, found.spread, memory, parameters)
        if found.median > options.limit:
            return


def build(way: str, n: int, batch: int, space: SearchSpace, depthwise: bool) -> nn.Module:
    torch.manual_seed(0)
    model: nn.Module = WRN1d(width=16)
    if depthwise:
        for conv in [m for m in model.modules() if isinstance(m, nn.Conv1d) and m.in_channels == m.out_channels]:
            conv.groups, conv.weight = conv.out_channels, nn.Parameter(conv.weight[:, :1].detach().clone())
    if way == PLAIN:
        return model.to(DEVICE).train()
    example = torch.randn(batch, 1, n)
    supernet = rewrite(model, example[:2], space, "fresh").to(DEVICE).train()
    for site in sites_of(supernet).values():
        site.algorithm = way
    if way == "auto":
        tune(supernet, example.to(DEVICE))
    return supernet


def loader(n: int, batch: int) -> Iterator[tuple[Tensor, ...]]:
    """Batches without end of stand-ins for sequential MNIST: only shapes matter for time."""
    generator = torch.Generator().manual_seed(0)
    images, labels = torch.rand(4 * batch, 1, n, generator=generator), torch.arange(4 * batch) % 10
    while True:
        yield from DataLoader(TensorDataset(images, labels), batch, shuffle=True, generator=generator)


def training_step(model: nn.Module, batches: Iterator[tuple[Tensor, ...]]) -> Callable[[], None]:
    optimiser = torch.optim.SGD(model.parameters(), lr=1e-3)

    def step() -> None:
        images, labels = (t.to(DEVICE) for t in next(batches))
        optimiser.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        optimiser.step()

    return step


def draw(curves: Sequence[Curve], title: str, out: Path) -> None:
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(curve.panel for curve in curves))
    figure = Figure(figsize=(5 * len(names), 4.5), layout="constrained")
    axes = figure.subplots(1, len(names), squeeze=False)[0]
    for ax, name in zip(axes, names, strict=True):
        for curve in (c for c in curves if c.panel == name):
            ax.plot([p.x for p in curve.points], [p.milliseconds for p in curve.points], marker=".", label=curve.way)
        ax.set(title=name, yscale="log", ylabel="ms a step: forward, backward, SGD")
        ax.set_xscale("log" if "n" in name.split() else "linear")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center", fontsize="small")
    figure.suptitle(title, fontsize="small")
    figure.savefig(out, dpi=120)


if __name__ == "__main__":
    main()
