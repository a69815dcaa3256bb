"""Is the search worth it? Runs the untouched backbone, a random choice per site and the search under one recipe.

    python benchmarks/controls.py --model dashfx.backbones:WRN1d --args num_classes=15 --data SwedishLeaf.npz \
        --seeds 0 1 2 --out runs/controls/swedishleaf --set search.epochs=60 --set retrain.epochs=100

Variants retrain from fresh weights with the same recipe, validation split and seed; nothing is chosen on the test
part. "all-3" has three taps at dilation 1 in every conv, "baby" searches {3, 5} x {1, 2} as the paper's Baby DASH, and
"tuned" tunes what "searched" has found, by `--trials` trainings, and retrains it with the best options, whether or not
they beat those of "searched" in the end: `dashfx search --tune` hands back the better of the two on validation, and
`benchmarks/results.py` prints it in bold. "inherited" is the search again, retrained from the supernet's weights;
"held-out" is the search whose architecture parameters learn on a held-out share. For a checkpoint (--set
checkpoint=FILE), "grown" searches from its weights (in "grown-auto" only where it pays, in "grown-one-by-one" deciding
site after site), and "fine-tuned" trains it on by the same recipe without any change: the control that matters there.
"fine-tuned-longer" sees as many rows as search and fine-tuning together.
A variant whose folder already holds a result is not run again, so an interrupted call can simply be repeated.
`python benchmarks/table.py runs/controls/*` prints the table, `benchmarks/results.py` runs many data sets, and
`benchmarks/pretrained.py` has a table for checkpoints.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import torch

import dashfx
from dashfx.config.files import assign
from dashfx.config.run import RunConfig
from dashfx.config.search import AUTO
from dashfx.errors import ConfigError
from dashfx.genotype import Genotype
from dashfx.pipeline import retrain_genotype
from dashfx.run.folder import existing_folder
from dashfx.run.result import Result
from dashfx.stages.reopen import tune_folder
from dashfx.train.progress import Epoch, Observer
from dashfx.tune import with_values


def _lists(kernels: str, dilations: str) -> dict[str, str]:
    return {"space.kernels": kernels, "space.dilations": dilations, "space.keep_original": "false"}


PLAIN = {"retrain.weights": "fresh"}
GROWN = {"search.strategy": "dash", "search.init": "grow", "retrain.weights": "inherit"}
TUNED = {"search.strategy": "untouched", "retrain.weights": "pretrained"}
VARIANTS: dict[str, dict[str, str]] = {
    "untouched": {**PLAIN, "search.strategy": "untouched"},
    "random": {**PLAIN, "search.strategy": "random"},
    "searched": {**PLAIN, "search.strategy": "dash"},
    "inherited": {"search.strategy": "dash", "retrain.weights": "inherit"},
    "all-3": {**PLAIN, "search.strategy": "random", **_lists("[3]", "[1]")},
    "baby": {**PLAIN, "search.strategy": "dash", **_lists("[3,5]", "[1,2]")},
    "tuned": {},
    "held-out": {**PLAIN, "search.strategy": "dash", "search.alpha_on": "held-out"},
    "grown": GROWN,
    "grown-auto": {**GROWN, "space.sites": "auto"},
    "grown-one-by-one": {**GROWN, "search.discretise": "one-by-one"},
    "fine-tuned": TUNED,
    "fine-tuned-longer": TUNED,
}


class Lines(Observer):
    """A line per tenth epoch, for a log file."""

    def epoch(self, facts: Epoch) -> None:
        if facts.epoch % 10 == 9 or facts.epoch + 1 == facts.epochs:
            print(
                f"  {facts.stage} {facts.epoch + 1}/{facts.epochs} loss {facts.loss:.3f} valid {facts.metric:.4f}",
                flush=True,
            )


def main() -> None:
    options = arguments(__doc__, ["untouched", "random", "searched"]).parse_args()
    torch.set_num_threads(options.threads)
    for seed in options.seeds:
        for variant in options.variants:
            run(options, variant, seed)


def arguments(description: str | None, variants: list[str]) -> argparse.ArgumentParser:
    """The command line; these variants are the default."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--args", nargs="*", default=[], help="name=value of the model's class")
    parser.add_argument("--data", required=True)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=variants)
    parser.add_argument("--set", dest="settings", action="append", default=[])
    parser.add_argument("--trials", type=int, default=5, help="of the variant tuned")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    return parser


def run(options: argparse.Namespace, variant: str, seed: int) -> None:
    folder = options.out / f"{variant}-{seed}"
    if (folder / "result.json").exists():
        return
    print(f"{folder}", flush=True)
    if variant == "tuned":
        result = tuned(options.out / f"searched-{seed}", folder, options.trials)
    else:
        result = searched(options, variant, seed, folder)
    print(f"  {result.task.metric_name}: valid {result.valid:.4f}, test {result.test:.4f}", flush=True)


def searched(options: argparse.Namespace, variant: str, seed: int, folder: Path) -> Result:
    settings: dict[str, Any] = assign({"seed": seed, "control": False}, options.settings)
    settings = assign(settings, [f"{name}={value}" for name, value in VARIANTS[variant].items()])
    settings["model_args"] = assign({}, options.args)
    resume = (folder / "config.yaml").exists()
    config = RunConfig.parse(settings)
    if variant == "fine-tuned-longer":
        config = lengthened(config)
    return dashfx.search(options.model, options.data, config=config, out=folder, observer=Lines(), resume=resume)


def tuned(before: Path, folder: Path, trials: int) -> Result:
    """What the folder `before` has searched, retrained with the options that did best in so many trials there."""
    paths, config = existing_folder(before)
    tune = config.tune.model_copy(update={"trials": trials})
    found = tune_folder(before, config.model_copy(update={"tune": tune}))
    config = with_values(config, found.values)
    assert config.model is not None
    return retrain_genotype(
        config.model,
        config.data,
        Genotype.load(paths.genotype),
        config=config,
        out=folder,
        observer=Lines(),
        resume=(folder / "config.yaml").exists(),
    )


def lengthened(config: RunConfig) -> RunConfig:
    """Retraining for the rows of search and retraining together."""
    search, retrain = config.search, config.retrain
    if retrain.epochs == AUTO:
        raise ConfigError("fine-tuned-longer takes a given number of epochs and the search's: --set retrain.epochs=60")
    epochs = retrain.epochs + round(search.epochs * search.fraction / retrain.fraction)
    return config.model_copy(update={"retrain": retrain.model_copy(update={"epochs": epochs})})


if __name__ == "__main__":
    sys.exit(main())
