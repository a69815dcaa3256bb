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
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.kd.load import genotype_of
from benchmarks.kd.table import fresh, headed, read, trained, write
from dashfx import Candidate, Genotype, SearchSpace
from dashfx.backbones import WRN1d
from dashfx.config.run import RetrainConfig
from dashfx.data import Data
from dashfx.ops.autotune.timing import timing

SPACE = SearchSpace.preset("dash1d")
WIDTH = 16
RECIPE = RetrainConfig(epochs=25, batch_size=32)
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
            row = {"id": number, "draw": how, "seed": seed, **row_of(genotype, data, seed)}
            table["rows"].append(row)
            write(table, options.out)
            print(f"{number} seed {seed} {how}: valid {row['valid']:.4f}, {row['seconds']:.0f} s", flush=True)


def header(data: Data) -> dict[str, Any]:
    return headed(data, f"dashfx.backbones:WRN1d width={WIDTH}", RECIPE, SPACE.candidates)


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
    """The genotype's net with fresh weights."""
    return fresh(lambda: WRN1d(data.n_outputs, data.input_shape[0], WIDTH), genotype, data, seed)


def row_of(genotype: Genotype, data: Data, seed: int) -> dict[str, Any]:
    """The facts of a training."""
    return trained(model_of, genotype, data, seed, RECIPE)


def add_latency(table: dict[str, Any], data: Data, out: Path) -> None:
    """Milliseconds of a batch of 16 through each net, eager PyTorch, one thread, the median of 15 runs."""
    table["latency"] = "ms of a batch of 16, eager PyTorch on one CPU thread, median of 15 runs"
    x, cpu = torch.zeros(16, *data.input_shape), torch.device("cpu")
    for row in table["rows"]:
        model = model_of(genotype_of(row["genotype"]), data, row["seed"]).eval()
        with torch.no_grad():
            row["latency"] = round(1e3 * timing(lambda model=model: model(x), cpu, 15).median, 3)
    write(table, out)


if __name__ == "__main__":
    main()
