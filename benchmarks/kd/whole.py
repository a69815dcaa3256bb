r"""A small task goes in; a JSON table of all genotypes of a four-conv network, each with three seeds, comes out.

    python -m benchmarks.kd.whole --data mnist5k-seq --out runs/kd/whole.json --pilot-only
    python -m benchmarks.kd.whole --data mnist5k-seq --out runs/kd/whole.json --workers 2
    python -m benchmarks.kd.whole --data mnist5k-seq --out runs/kd/whole.json --latency

A table tells methods apart only where genotypes differ by more than seeds do. So a few genotypes, drawn at random, are
trained with two seeds first, and unless Kendall's tau of their validation metrics is above `--least` nothing else is
trained (exit code 1). Every training has the same recipe and validation split and metrics after each epoch; the last
one's count, so neither part is used for a choice. Rows that the file holds already are not trained again, in any number
of workers, and are the same in any number. `--latency` only times the models of the file, in ONNX Runtime on one
thread: run it when the machine has nothing else to do. The file is one that `--evaluator FILE.json` takes.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import multiprocessing
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import kendalltau
from torch import nn

from benchmarks.kd.four import Four
from benchmarks.kd.load import genotype_of
from benchmarks.kd.table import fresh, headed, read, trained, write
from dashfx import Candidate, Genotype
from dashfx.config.run import RetrainConfig
from dashfx.cost.latency import latencies
from dashfx.data import Data

CHOICES = [Candidate(kernel, dilation) for kernel in (3, 9) for dilation in (1, 4)]
CONVS = ("conv1", "conv2", "conv3", "conv4")
RECIPE = RetrainConfig(epochs=4, batch_size=32, autotune=False)
SEEDS, PILOT, LEAST = 3, 24, 0.7
MODEL = "benchmarks/kd/four.py:Four"
Job = tuple[int, int]  # number of the genotype, seed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=1, help="processes, each with one thread")
    parser.add_argument("--pilot", type=int, default=PILOT, help="genotypes that are trained with two seeds first")
    parser.add_argument("--least", type=float, default=LEAST, help="Kendall's tau that these have to have")
    parser.add_argument("--pilot-only", action="store_true")
    parser.add_argument("--latency", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    table = json.loads(options.out.read_text()) if options.out.exists() else header(read(options.data))
    if options.latency:
        add_latency(table, read(options.data), options.out)
        return 0
    pilot = pilot_of(options.pilot)
    add_rows([(number, seed) for seed in (0, 1) for number in pilot], table, options)
    table["power"] = power(table["rows"], pilot)
    write(table, options.out)
    print(json.dumps(table["power"]), flush=True)
    if not table["power"]["valid"] > options.least:
        print(f"seeds do not agree on these data (tau <= {options.least}): a table of them tells nothing", flush=True)
        return 1
    if not options.pilot_only:
        add_rows([(number, seed) for seed in range(SEEDS) for number in range(len(genotypes()))], table, options)
    return 0


@cache
def genotypes() -> tuple[Genotype, ...]:
    """All of them, by number; the first is the network as it is."""
    rows = itertools.product(CHOICES, repeat=len(CONVS))
    return tuple(Genotype(dict(zip(CONVS, row, strict=True))) for row in rows)


def pilot_of(count: int) -> list[int]:
    """Numbers of genotypes, drawn without repeats."""
    drawn: list[int] = np.random.default_rng(0).permutation(len(genotypes()))[:count].tolist()
    return drawn


def header(data: Data) -> dict[str, Any]:
    curve = "after each epoch: training loss, validation metric, validation loss"
    return {**headed(data, MODEL, RECIPE, CHOICES), "curve": curve}


def add_rows(jobs: list[Job], table: dict[str, Any], options: argparse.Namespace) -> None:
    """Train what the table does not hold yet; it is written anew after each row, in the order of seeds and numbers."""
    done = {(row["id"], row["seed"]) for row in table["rows"]}
    for number, (job, facts) in enumerate(results([job for job in jobs if job not in done], options), 1):
        table["rows"].append({"id": job[0], "draw": "all", "seed": job[1], **facts})
        table["rows"].sort(key=lambda row: (row["seed"], row["id"]))
        write(table, options.out)
        print(f"{number}: {job[0]} seed {job[1]}: valid {facts['valid']:.4f}, {facts['seconds']:.0f} s", flush=True)


def results(jobs: list[Job], options: argparse.Namespace) -> Iterator[tuple[Job, dict[str, Any]]]:
    """Each job with its facts, as they come."""
    if options.workers < 2:
        yield from ((job, row_of(options.data, *job)) for job in jobs)
        return
    with ProcessPoolExecutor(options.workers, multiprocessing.get_context("spawn")) as pool:
        running = {pool.submit(row_of, options.data, *job): job for job in jobs}
        yield from ((running[each], each.result()) for each in as_completed(running))


loaded = cache(read)  # once a process


def model_of(genotype: Genotype, data: Data, seed: int) -> nn.Module:
    """The genotype's network with fresh weights."""
    return fresh(lambda: Four(data.n_outputs, data.input_shape[0]), genotype, data, seed)


def row_of(spec: str, number: int, seed: int) -> dict[str, Any]:
    """The facts of a training, in a process of one thread."""
    torch.set_num_threads(1)
    return trained(model_of, genotypes()[number], loaded(spec), seed, RECIPE)


def power(rows: list[Mapping[str, Any]], pilot: list[int]) -> dict[str, Any]:
    """Kendall's tau-b of two seeds over the pilot's genotypes, of each part's metric; 0 where all are the same."""
    by_seed = [{row["id"]: row for row in rows if row["seed"] == seed} for seed in (0, 1)]
    found: dict[str, Any] = {"genotypes": len(pilot)}
    for part in ("valid", "test"):
        tau = float(kendalltau(*[[seed[number][part] for number in pilot] for seed in by_seed]).statistic)
        found[part] = round(0.0 if math.isnan(tau) else tau, 3)
    return found


def add_latency(table: dict[str, Any], data: Data, out: Path) -> None:
    """Milliseconds of one row through ONNX Runtime, one thread, the median; once a genotype, for all its seeds."""
    table["latency"] = "ms of one row in ONNX Runtime on one CPU thread, median"
    x, times = torch.zeros(1, *data.input_shape), dict[Genotype, float]()
    left = list(dict.fromkeys(genotype_of(row["genotype"]) for row in table["rows"]))
    for chunk in (left[at : at + 16] for at in range(0, len(left), 16)):  # those of a chunk are called in turns
        found = latencies([model_of(genotype, data, 0) for genotype in chunk], x)
        times |= {g: math.nan if t is None else 1e3 * t.median for g, t in zip(chunk, found, strict=True)}
    for row in table["rows"]:
        row["latency"] = round(times[genotype_of(row["genotype"])], 4)
    write(table, out)


if __name__ == "__main__":
    sys.exit(main())
