"""Does a search pay? Trains the variants that every procedure of choosing is composed of, on series of the UCR archive.

    python -m benchmarks.verdict --data UCR --out runs/verdict --seeds 0 1
    python -m benchmarks.verdict --data UCR --out runs/verdict --sets ECG200 CricketX --variants untouched wide12 ms3
    python -m benchmarks.verdict_table runs/verdict

UCR is a folder of NAME.npz with x_train, y_train, x_test and y_test. A row is one training of the 1-D WRN (width 8),
its curve, its parameters and multiply-adds, and its predictions on the validation and the test part, so that procedures
("the search's choice or the untouched model", ensembles, other judges) are composed afterwards without training again.
Every training has E = 1,500 steps of 16 rows by the same recipe, and starts from fresh weights; rungs have E / 6, and
"untouched-3E" three times as many. A fifth of the archive's training part, drawn by the seed, is the validation part.
"winner" stands for those of the ladder whose rungs have the lowest validation loss, with and without several kernels a
conv. A row that is there is not trained again, so an interrupted call can simply be repeated.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.ucr.networks import Shape, macs_of, parameters_of, supernet, with_genotype
from benchmarks.ucr.recipes import BASE, EPOCH_STEPS, EPOCHS
from benchmarks.ucr.rows import Rows
from benchmarks.ucr.variants import LADDER, MULTI, RUNG, SEARCHES, VARIANTS, Variant
from dashfx import Genotype
from dashfx.config.run import RetrainConfig
from dashfx.config.search import SearchConfig
from dashfx.data import Data, load_data
from dashfx.ops import sites_of
from dashfx.strategies.gradient import DASH
from dashfx.task import Task, load_task
from dashfx.task.losses import LossOptions
from dashfx.train.fit import Supervised, fit
from dashfx.train.processes import make_accelerator
from dashfx.train.progress import Epoch

WINNER = "winner"
USUAL = (
    *("untouched", "wide12", *(name + RUNG for name in ("wide12", *LADDER, *MULTI)), "ms3", WINNER),
    *("random1", "dash", "untouched-3E"),
)
Predictions = dict[str, np.ndarray]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder of NAME.npz")
    parser.add_argument("--sets", nargs="+", help="by default all, the shortest series first")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--variants", nargs="+", default=USUAL, choices=[*VARIANTS, WINNER], metavar="NAME")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    there = shortest_first(options.data)
    if unknown := [name for name in options.sets or () if name not in there]:
        parser.error(f"no {unknown[0]}.npz in {options.data}; there are {', '.join(there) or 'none'}")
    torch.set_num_threads(1)
    rows = Rows(options.out)
    for name in options.sets or there:
        for seed in options.seeds:
            run(rows, options.data / f"{name}.npz", seed, options.variants)


def shortest_first(folder: Path) -> list[str]:
    lengths = {}
    for path in folder.glob("*.npz"):
        with np.load(path) as arrays:
            lengths[path.stem] = arrays["x_train"].shape[1]
    return sorted(lengths, key=lambda name: (lengths[name], name))


def run(rows: Rows, path: Path, seed: int, names: Sequence[str]) -> None:
    """The variants of one set and seed that are not there yet."""
    data: Data | None = None
    for name in names:
        for variant in resolved(name, rows, path.stem, seed):
            if (path.stem, seed, variant.name) in rows:
                continue
            data = data or load_data(str(path), seed=seed)
            shape = Shape(data.n_outputs, (data.input_shape[0], data.input_shape[1]))
            if not shape.fits(variant.needs):
                continue
            facts, predictions = trained(variant, data, shape, seed)
            rows.add({"set": path.stem, "seed": seed, "variant": variant.name, **facts}, predictions)
            now = time.strftime("%H:%M:%S")
            line = f"{now} {path.stem} {seed} {variant.name}: valid {facts['valid']:.3f}, test {facts['test']:.4f}"
            print(f"{line}, {facts['seconds']:.1f} s", flush=True)


def resolved(name: str, rows: Rows, of: str, seed: int) -> Iterator[Variant]:
    """The variant of that name; of "winner" those that the rungs so far speak for."""
    if name != WINNER:
        yield VARIANTS[name]
        return
    for among in (tuple(LADDER), (*LADDER, *MULTI)):
        losses = {n: rows.by_key[of, seed, n + RUNG]["valid_loss"] for n in among if (of, seed, n + RUNG) in rows}
        if losses:
            yield VARIANTS[min(losses, key=lambda n: losses[n])]


def trained(variant: Variant, data: Data, shape: Shape, seed: int) -> tuple[dict[str, Any], Predictions]:
    """A row's facts and predictions."""
    facts: dict[str, Any] = {}
    if variant.build is None:
        facts, genotype = searched(variant, data, shape, seed)
        model = with_genotype(shape, seed, genotype)
    else:
        model = variant.build(shape, seed)
    facts |= {"parameters": parameters_of(model), "macs": macs_of(model, shape)}
    started, recipe = time.process_time(), variant.recipe
    config = RetrainConfig.parse({**BASE, **recipe.options, "epochs": round(variant.length * EPOCHS)})
    repeated, config = with_epochs_of(EPOCH_STEPS, data, config)
    task = load_task(None, data, LossOptions(label_smoothing=recipe.smoothing))
    learner = Supervised(model, task, config, make_accelerator("cpu"))
    fitted = fit(learner, repeated, stage="retrain", seed=seed)
    facts["seconds"] = round(time.process_time() - started, 2)  # of the processor, beside other work
    with learner.judged():
        predictions = predicted(learner.plain, data)
    learner.plain.load_state_dict(fitted.best_weights)
    predictions |= {f"{part}_best": scores for part, scores in predicted(learner.plain, data).items()}
    predictions |= {f"{part}_y": data.part(part).targets.astype(np.int16) for part in ("valid", "test")}
    facts |= {
        "steps": sum(epoch.steps for epoch in fitted.history),
        "valid": fitted.judged,
        "valid_loss": fitted.valid_loss,
        "best": fitted.best,
        "best_epoch": fitted.best_epoch,
        "test": accuracy(predictions, "test"),
        "test_best": accuracy(predictions, "test_best"),
        "curve": curve(fitted.history),
    }
    return facts, predictions


def searched(variant: Variant, data: Data, shape: Shape, seed: int) -> tuple[dict[str, Any], Genotype]:
    """What DASH chooses in E / 3 steps, with its cost and how sure it is of each site."""
    started = time.process_time()
    options = {"epochs": EPOCHS // 3, "batch_size": BASE["batch_size"], **SEARCHES[variant.name]}
    repeated, config = with_epochs_of(EPOCH_STEPS, data, SearchConfig.parse(options))
    net = supernet(shape, seed)
    engine = DASH.engine(net, task_of(data), config, make_accelerator("cpu"))
    history = fit(engine, repeated, stage="search", seed=seed).history
    genotype = DASH.rule.select(sites_of(net))
    sure = {name: round(share, 3) for name, (share, _) in engine.mixtures().items()}
    choices = {name: str(choice) for name, choice in genotype.items()}
    seconds = round(time.process_time() - started, 2)
    return {"search_seconds": seconds, "genotype": choices, "sure": sure, "search_curve": curve(history)}, genotype


def task_of(data: Data) -> Task:
    return load_task(None, data)


def with_epochs_of(steps: int, data: Data, config: Any) -> tuple[Data, Any]:
    """The data and options by which an epoch has so many steps, whatever the number of rows.

    The training part stands there so often that it has as many rows, and each epoch draws as many of them.
    """
    rows, wanted = len(data.train), steps * config.batch_size
    times = math.ceil(wanted / rows)
    repeated = replace(data, train=data.train.subset(np.tile(np.arange(rows), times)))
    return repeated, config.model_copy(update={"fraction": wanted / (times * rows)})


@torch.no_grad()
def predicted(model: nn.Module, data: Data) -> Predictions:
    """Scores (rows, classes) of the validation and the test part, in half precision."""
    model.eval()
    found: Mapping[str, list[Tensor]] = {"valid": [], "test": []}
    for part, scores in found.items():
        scores += [model(x) for x, _ in data.loader(part, 256)]
    return {part: torch.cat(scores).half().numpy() for part, scores in found.items()}


def accuracy(predictions: Predictions, what: str) -> float:
    """The share of right answers of scores such as "test" or "test_best"."""
    return float((predictions[what].argmax(1) == predictions[f"{what.partition('_')[0]}_y"]).mean())


def curve(history: Sequence[Epoch]) -> dict[str, list[float]]:
    facts = [asdict(epoch) for epoch in history]
    return {name: [round(each[name], 5) for each in facts] for name in ("loss", "metric", "valid_loss")}


if __name__ == "__main__":
    sys.exit(main())
