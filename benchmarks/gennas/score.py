"""Networks of a NAS benchmark go in; a JSON line per network and proxy comes out, with the score and its seconds.

    python -m benchmarks.gennas.score --space nb201 --known nasbench201_test_accuracy.json --n 200 \
        --proxies combo single --cells 1 --images cifar10_train20k.npz --out runs/gennas/nb201-cells1.jsonl

Networks are drawn without repeats by `--seed`, so a larger n keeps those of a smaller one; all have weights of the same
seed. What the file holds already is not scored again. `--images` is an npz file of labelled images, `photos` (crops of
scikit-learn's two photographs) or `noise`. `--cells`, `--width` and `--iterations` make the networks or the regression
smaller than the benchmark's own. `python -m benchmarks.gennas.table` prints the rank correlations.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_sample_images
from torch import Tensor, nn

from benchmarks.gennas import macro, nb101, nb201
from dashfx.proxy import PROXIES, GenNAS, Proxy, load_proxy
from dashfx.train.progress import read_log

SIDE = 32
ROWS, PEER_ROWS = 16, 64  # images of a batch: GenNAS', and that of proxies that see it once
Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Benchmark:
    """How a network is built from a string and reduced sizes, and how the accuracies are read from a file."""

    network: Callable[..., nn.Module]
    accuracies: Callable[[Path], Mapping[str, float]]


BENCHMARKS = {
    "nb201": Benchmark(nb201.network, nb201.accuracies),
    "nb101": Benchmark(nb101.network, nb101.accuracies),
    "macro": Benchmark(macro.network, macro.accuracies),
}


def main() -> None:
    options = parse()
    torch.set_num_threads(1)
    benchmark = BENCHMARKS[options.space]
    known = benchmark.accuracies(options.known)
    archs = random.Random(options.seed).sample(sorted(known), options.n)
    batches = {rows: images(options.images, rows) for rows in (ROWS, PEER_ROWS)}
    proxies = [proxy(name, options.iterations) for name in options.proxies]
    done = {(row["arch"], row["proxy"]) for row in read_log(options.out)}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with options.out.open("a", encoding="utf-8") as file:
        for number, arch in enumerate(archs, 1):
            for each in (p for p in proxies if (arch, p.name) not in done):
                network = built(benchmark, arch, reduced(options))
                row = scored(each, network, batches[ROWS if isinstance(each, GenNAS) else PEER_ROWS])
                file.write(json.dumps({"arch": arch, "truth": known[arch], **row}) + "\n")
                file.flush()
            print(f"{number} of {len(archs)}", flush=True)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--space", required=True, choices=BENCHMARKS)
    parser.add_argument("--known", type=Path, required=True, help="the file of published accuracies")
    parser.add_argument("--n", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--proxies", nargs="+", choices=PROXIES, default=["combo", "single"])
    parser.add_argument("--images", required=True)
    parser.add_argument("--cells", type=int, help="cells a stage")
    parser.add_argument("--width", type=int, help="channels of the first stage")
    parser.add_argument("--iterations", type=int, default=100)
    parser.add_argument("--out", type=Path, required=True)
    return parser.parse_args()


def reduced(options: argparse.Namespace) -> dict[str, int]:
    """The sizes that are not the benchmark's own."""
    return {name: getattr(options, name) for name in ("cells", "width") if getattr(options, name)}


def built(benchmark: Benchmark, arch: str, sizes: Mapping[str, int]) -> nn.Module:
    """The network with weights of seed 0."""
    torch.manual_seed(0)
    return benchmark.network(arch, **sizes)


def proxy(name: str, iterations: int) -> Proxy:
    found = load_proxy(name)
    if isinstance(found, GenNAS):
        found.iterations = iterations
    return found


def scored(each: Proxy, network: nn.Module, batch: Batch) -> dict[str, Any]:
    started = time.perf_counter()
    score = each.score(network, batch)
    seconds = round(time.perf_counter() - started, 2)
    return {"proxy": each.name, "maximise": each.maximise, "score": score, "seconds": seconds}


def images(source: str, rows: int) -> Batch:
    """(rows, 3, 32, 32) with mean 0 and standard deviation 1 per channel, and labels; random ones where there are none.

    Args:
        source: an npz file with x (N, 32, 32, 3) and y, "photos" or "noise".
    """
    rng = np.random.default_rng(0)
    y = rng.integers(10, size=rows)
    if source == "photos":
        x = np.stack([crop(photo, rng) for _ in range(rows // 2) for photo in load_sample_images().images])
    elif source == "noise":
        x = rng.standard_normal((rows, SIDE, SIDE, 3))
    else:
        with np.load(source) as file:
            x, y = file["x"][:rows], file["y"][:rows]
    pixels = torch.from_numpy(x.astype(np.float32)).permute(0, 3, 1, 2)
    mean, std = pixels.mean((0, 2, 3), keepdim=True), pixels.std((0, 2, 3), keepdim=True)
    return (pixels - mean) / std, torch.from_numpy(y.astype(np.int64))


def crop(photo: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A random square of 32 pixels."""
    top, left = (int(rng.integers(size - SIDE)) for size in photo.shape[:2])
    return photo[top : top + SIDE, left : left + SIDE]


if __name__ == "__main__":
    main()
