"""A small real task goes in; a JSON table of (kernel, dilation) genotypes of the 1-D WRN, trained alike, comes out.

    python -m benchmarks.kd.train --data SwedishLeaf.npz --out runs/kd/swedishleaf.json
    python -m benchmarks.kd.train --data SwedishLeaf.npz --out runs/kd/swedishleaf.json --latency

Every genotype starts from fresh weights and takes the same recipe, seed, training order and validation split; the
metrics are those of the last epoch, so neither part is used for a choice. The last few rows repeat genotypes with
another seed, to tell the noise. A row that the file holds already is not trained again, so an interrupted call can be
repeated. `--latency` only times the models of the file: run it when the machine has nothing else to do.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from dashfx import Candidate, Genotype, SearchSpace
from dashfx.backbones import WRN1d
from dashfx.config.run import RetrainConfig
from dashfx.data import Data, load_data
from dashfx.ops.autotune.timing import timing
from dashfx.supernet import specialise
from dashfx.task import load_task
from dashfx.train.fit import Supervised, derive_seed, fit, make_accelerator, validate

SPACE = SearchSpace.preset("dash1d")
WIDTH = 16
RECIPE = RetrainConfig(epochs=25, batch_size=32)
VALID_FRACTION = 0.25
CONVS = {f"block{b}.conv{c}": Candidate(kernel) for b in (1, 2, 3) for c, kernel in ((1, 7), (2, 5), (3, 3))}
WIDEST = 150  # the largest common span; spans of single convs reach 271
REPEATED = (0, 1, 5, 12, 25, 35, 45, 55)  # trained once more, with another seed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--latency", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = read(options.data)
    table = json.loads(options.out.read_text()) if options.out.exists() else header(data)
    if options.latency:
        add_latency(table, data, options.out)
        return
    done = {(row["id"], row["seed"]) for row in table["rows"]}
    for number, seed, how, genotype in plan():
        if (number, seed) not in done:
            row = {"id": number, "draw": how, "seed": seed, **trained(genotype, data, seed)}
            table["rows"].append(row)
            write(table, options.out)
            print(f"{number} seed {seed} {how}: valid {row['valid']:.4f}, {row['seconds']:.0f} s", flush=True)


def read(spec: str) -> Data:
    """The data with the one validation split that all rows share."""
    return load_data(spec, seed=0, valid_fraction=VALID_FRACTION)


def header(data: Data) -> dict[str, Any]:
    return {
        "task": data.name.removesuffix(".npz"),
        "model": f"dashfx.backbones:WRN1d width={WIDTH} num_classes={data.n_outputs}",
        "metric": "accuracy",
        "parts": {part: len(data.part(part)) for part in ("train", "valid", "test")},
        "recipe": RECIPE.model_dump(mode="json"),
        "candidates": [f"{c.kernel[0]},{c.dilation[0]}" for c in SPACE],
        "seconds": "wall time, beside other work",
        "flops": "multiplications and additions of one row, counted apart",
        "versions": f"torch {torch.__version__}, Python {platform.python_version()}",
        "rows": [],
    }


def plan() -> Iterator[tuple[int, int, str, Genotype]]:
    """(id, seed, how it was drawn, genotype): every genotype once, then a few with a second seed."""
    genotypes = list(drawn(60, np.random.default_rng(0)))
    order = [(number, 0) for number in range(len(genotypes))] + [(number, 1) for number in REPEATED]
    for number, seed in order:
        yield number, seed, *genotypes[number]


def drawn(count: int, rng: np.random.Generator) -> Iterator[tuple[str, Genotype]]:
    """The untouched net, 3 taps everywhere, and by turns uniform draws and draws around a common span.

    Uniform draws alone would all be wide: half of the 20 candidates span 40 samples or more, and a net has nine.
    """
    yield "untouched", Genotype(CONVS)
    yield "three", Genotype(dict.fromkeys(CONVS, Candidate(3)))
    for number in range(count - 2):
        if number % 5 < 2:
            yield "uniform", Genotype({name: SPACE.candidates[rng.integers(len(SPACE))] for name in CONVS})
        else:
            scale = math.exp(rng.uniform(math.log(3), math.log(WIDEST)))
            yield "scaled", Genotype({name: near(scale, rng) for name in CONVS})


def near(scale: float, rng: np.random.Generator) -> Candidate:
    """A candidate whose span lies near `scale`: drawn by weights that fall with the distance of their logarithms."""
    distance = np.array([math.log(c.span[0] / scale) for c in SPACE])
    weights = np.exp(-0.5 * (distance / 0.4) ** 2) + 1e-9
    return SPACE.candidates[rng.choice(len(SPACE), p=weights / weights.sum())]


def model_of(genotype: Genotype, data: Data, seed: int) -> nn.Module:
    """The genotype's net with fresh weights, drawn by the seed alone."""
    torch.manual_seed(derive_seed(seed, "weights"))
    backbone = WRN1d(data.n_outputs, data.input_shape[0], WIDTH)
    return specialise(backbone, torch.zeros(2, *data.input_shape), genotype, "fresh")


def trained(genotype: Genotype, data: Data, seed: int) -> dict[str, Any]:
    """A row's facts: the choices, size and work of the net, and its metrics after the last epoch."""
    started, model = time.perf_counter(), model_of(genotype, data, seed)
    learner = Supervised(model, load_task(None, data), RECIPE, make_accelerator("cpu"))
    fitted = fit(learner, data, stage="kd", seed=seed)
    return {
        "genotype": {name: f"{c.kernel[0]},{c.dilation[0]}" for name, c in genotype.items()},
        "params": sum(p.numel() for p in model.parameters()),
        "flops": flops(model, data),
        "valid": round(validate(learner, data, "valid"), 6),
        "test": round(validate(learner, data, "test"), 6),
        "train_loss": round(fitted.history[-1].loss, 6),
        "epochs": RECIPE.epochs,
        "seconds": round(time.perf_counter() - started, 1),
    }


def flops(model: nn.Module, data: Data) -> int:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.eval()(torch.zeros(1, *data.input_shape))
    return counter.get_total_flops()


def add_latency(table: dict[str, Any], data: Data, out: Path) -> None:
    """Milliseconds of a batch of 16 through each net, eager PyTorch, one thread, the median of 15 runs."""
    table["latency"] = "ms of a batch of 16, eager PyTorch on one CPU thread, median of 15 runs"
    x, cpu = torch.zeros(16, *data.input_shape), torch.device("cpu")
    for row in table["rows"]:
        choices = {name: Candidate(*map(int, text.split(","))) for name, text in row["genotype"].items()}
        model = model_of(Genotype(choices), data, row["seed"]).eval()
        with torch.no_grad():
            row["latency"] = round(1e3 * timing(lambda model=model: model(x), cpu, 15).median, 3)
    write(table, out)


def write(table: dict[str, Any], out: Path) -> None:
    """JSON with a row a line, in place of the file at once."""
    facts = "".join(f" {json.dumps(key)}: {json.dumps(value)},\n" for key, value in table.items() if key != "rows")
    rows: Sequence[str] = [json.dumps(row) for row in table["rows"]]
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_suffix(".part")
    part.write_text(f'{{\n{facts} "rows": [\n  ' + ",\n  ".join(rows) + "\n ]\n}\n", encoding="utf-8")
    part.replace(out)


if __name__ == "__main__":
    main()
