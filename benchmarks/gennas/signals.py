"""Plots one map of every signal that GenNAS regresses, for images and for series.

python -m benchmarks.gennas.signals docs/concepts/figures/signals.png
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from matplotlib.figure import Figure
from sklearn.datasets import load_sample_images
from torch import Tensor

from dashfx.proxy.gennas.signals import BANDS
from dashfx.proxy.gennas.tasks import COMBO, Signal, Stage, Task

EMPTY = Stage((), 0.0)
SIGNALS = {
    **{f"sin1d {band}": Signal("sin1d", frequencies=band) for band in BANDS},
    **{f"sin2d {band}": Signal("sin2d", frequencies=band) for band in BANDS},
    "dot": Signal("dot"),
    "dot, share 0.2": Signal("dot", share=0.2),
    "gdot, share 0.2": Signal("gdot", share=0.2),
    "resize": Signal("resize"),
}


def main() -> None:
    photo = torch.from_numpy(load_sample_images().images[0].copy()).permute(2, 0, 1)[None] / 255
    batch = torch.cat([photo[..., :427, :427], photo[..., :427, -427:]])
    series = batch[:, :, 200, :300]
    columns = list(columns_of(batch, series))
    figure = Figure(figsize=(1.25 * len(columns), 2.7), layout="constrained")
    axes = figure.subplots(2, len(columns), height_ratios=[2, 1])
    for (image, row), (title, square, line) in zip(axes.T, columns, strict=True):
        image.imshow(square, cmap="gray", vmin=-square.abs().max(), vmax=square.abs().max())
        image.set_title(title, fontsize=8)
        if line is None:
            row.remove()
        else:
            row.plot(line, linewidth=0.8, color="black")
        for axis in (image, row):
            axis.set(xticks=[], yticks=[])
    figure.savefig(Path(sys.argv[1]), dpi=110)


def columns_of(batch: Tensor, series: Tensor) -> Iterator[tuple[str, Tensor, Tensor | None]]:
    """(title, map of an image, map of a series where there is one), then the sums that "combo" asks of each stage."""
    for title, signal in SIGNALS.items():
        task = Task(title, (EMPTY, EMPTY, Stage((signal,), 1.0)))
        line = None if signal.kind == "sin2d" else first(task, 2, series)
        yield title, first(task, 2, batch), line
    for stage in range(3):
        yield f"combo, stage {stage + 1}", first(COMBO, stage, batch), first(COMBO, stage, series)


def first(task: Task, stage: int, batch: Tensor) -> Tensor:
    target = task.targets(batch, seed=0)[stage]
    assert target is not None
    return target[0, 0]


if __name__ == "__main__":
    main()
