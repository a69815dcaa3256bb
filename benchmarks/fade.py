"""Does anything jump when a trained model grows? Training loss per step over the fade and both ways to discretise.

    python benchmarks/fade.py --model examples/resnet20.py:ResNet20 --data cifar10_train20k.npz+cifar10_test10k.npz \
        --set checkpoint=resnet20-12fca82f.th --set normalise=imagenet --out runs/fade

From one search that starts at the checkpoint, two branches go on for equally many steps at the same rate: "at-once"
lowers all sites and trains the plain model, "one-by-one" decides one site after the other. "untouched" is the same
number of steps without any change of kernels. It writes the losses (fade.json) and the picture (fade.png), and prints
the metrics on the test part as a table; nothing is chosen by either.
"""

from __future__ import annotations

import argparse
import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import dashfx
from dashfx.config.files import assign
from dashfx.config.run import RetrainConfig, RunConfig
from dashfx.config.search import FitConfig
from dashfx.ops import drop_residuals, sites_of
from dashfx.run.prepare import prepare
from dashfx.run.run import Run
from dashfx.stages.rewrite import rewritten
from dashfx.strategies.one_by_one import OneByOne, config_after_search
from dashfx.strategies.rules import Argmax
from dashfx.train.fit import Batch, Learner, Supervised, fit, validate

Losses = dict[str, list[float]]
# Few steps, so architecture parameters have to move faster than by default.
SHORT = {"epochs": 6, "fraction": 0.08, "lr": 0.01, "alpha_lr": 0.2, "warmup": 0.1, "recovery": 0.25}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--set", dest="settings", action="append", default=[])
    parser.add_argument("--rows", type=int, default=2000, help="rows of the test part to measure on")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    config = RunConfig.parse(assign({"search": dict(SHORT)}, options.settings))
    losses, metrics = compare(prepare(options.model, options.data, config=config), options.rows)
    (options.out / "fade.json").write_text(json.dumps({"losses": losses, "metrics": metrics}) + "\n")
    draw(losses, config, options.out / "fade.png")
    print("| state | test |\n| --- | --- |")
    for name, value in metrics.items():
        print(f"| {name} | {value:.4f} |")


def compare(run: Run, rows: int) -> tuple[Losses, dict[str, float]]:
    """Loss per step of each part, and the metric on rows of the test part at its ends."""
    losses: Losses = {}
    metrics: dict[str, float] = {}
    _, supernet = rewritten(run)
    options = run.config.search
    training = run.strategy.training
    assert training is not None
    # The fit loop validates after each epoch, which nothing here reads: a few rows do.
    parts = {"valid": run.inputs.data.valid.subset(np.arange(8)), "test": run.inputs.data.test.subset(np.arange(rows))}
    data = replace(run.inputs.data, **parts)

    def train(part: str, learner: Learner) -> None:
        losses[part] = recording(learner)
        fit(learner, data, stage=part, seed=run.config.seed)
        learner.before_validation(data)
        metrics[part] = validate(learner, data, "test")
        print(f"{part}: {metrics[part]:.4f} after {len(losses[part])} steps", flush=True)

    def plain(model: nn.Module, config: FitConfig) -> Supervised:
        recipe = RetrainConfig.parse({name: getattr(config, name) for name in FitConfig.model_fields})
        return Supervised(model, run.inputs.task, recipe, run.session.accelerator)

    metrics["the checkpoint"] = validate(plain(run.inputs.given_model(), options), data, "test")
    engine = training.engine(supernet, run.inputs.task, options, run.session.accelerator)
    train("search", engine)
    drop_residuals(supernet)
    lowered = dashfx.lower(supernet, Argmax().select(sites_of(supernet)))
    metrics["lowered at once, no further step"] = validate(plain(copy.deepcopy(lowered), options), data, "test")

    after = config_after_search(options, len(sites_of(supernet)))
    train("at-once", plain(lowered, after))
    train("one-by-one", OneByOne(engine, Argmax()))
    untouched = run.inputs.given_model()
    train("untouched, the search's steps", plain(untouched, options))
    train("untouched", plain(untouched, after))
    return losses, metrics


def recording(learner: Learner) -> list[float]:
    """The list that the loss of every step of `learner` will be appended to."""
    losses: list[float] = []
    step = learner.step

    def recorded(batch: Batch) -> Tensor:
        loss = step(batch)
        losses.append(float(loss))
        return loss

    learner.step = recorded  # type: ignore[method-assign]
    return losses


def draw(losses: Losses, config: RunConfig, path: Path, window: int = 5) -> None:
    """Moving averages over `window` steps; the search once, what follows it side by side."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.2), layout="constrained")
    axes: Any = figure.subplots()
    start = len(losses["search"])
    colours = {"search": "C0", "at-once": "C1", "one-by-one": "C2", "untouched": "0.6"}
    for name, colour in colours.items():
        before = "untouched, the search's steps" if name == "untouched" else None
        values = np.array([*(losses[before] if before else []), *losses[name]])
        first = 0 if name in ("search", "untouched") else start
        smooth = np.convolve(values, np.ones(window) / window, "valid")
        axes.plot(first + window - 1 + np.arange(len(smooth)), smooth, color=colour, linewidth=1, label=name)
    epochs = config.search.epochs
    axes.axvspan(0, start * config.search.fade * (epochs - 1) / epochs, alpha=0.1, label="the residual fades")
    axes.axvline(start, color="0.3", linewidth=0.8, linestyle=":")
    axes.set(xlabel="step", ylabel=f"training loss, mean of {window} steps", ylim=(0, None))
    axes.legend(fontsize=7, frameon=False)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
