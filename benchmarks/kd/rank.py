r"""A table of trained genotypes and its data go in; how well each proxy and the trained supernet rank them comes out.

    python -m benchmarks.kd.rank --table benchmarks/kd/swedishleaf.json --out runs/kd/scores.jsonl \
        --data SwedishLeaf.npz
    python -m benchmarks.kd.rank --table benchmarks/kd/swedishleaf.json --out runs/kd/scores.jsonl

Every genotype is scored with the fresh weights that its training started from. The supernet is trained once, with all
candidates, and a genotype's score is the validation metric with its candidates alone and batch-norm statistics measured
for them. Scores that the file holds already are not computed again; without `--data` only the correlations are printed.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.kd.load import Trained, between_seeds, first_seed, load
from benchmarks.kd.table import VALID_FRACTION, read
from benchmarks.kd.train import RECIPE, SPACE, WIDTH, model_of
from dashfx.config.space import SpaceConfig
from dashfx.data import Data
from dashfx.genotype import Genotype
from dashfx.proxy import GenNAS, correlate, load_proxy
from dashfx.run.prepare import prepare
from dashfx.stages.evaluators import BySupernet, proxy_batch
from dashfx.stages.rewrite import rewritten
from dashfx.stages.search import Searching
from dashfx.strategies.gradient import DASH
from dashfx.train.progress import read_log

PROXIES = ("combo", "single", "synflow", "snip", "grasp", "fisher", "grad_norm", "jacob_cov", "naswot")
SUPERNET = "supernet"
ROWS, PEER_ROWS = 16, 64
Score = Callable[[Genotype], float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--data")
    parser.add_argument("--proxies", nargs="+", choices=(*PROXIES, SUPERNET), default=(*PROXIES, SUPERNET))
    parser.add_argument("--epochs", type=int, default=20, help="of the supernet")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = load(options.table)
    if options.data:
        add_scores(options, first_seed(rows))
    scores = [row for row in read_log(options.out) if row["table"] == options.table.stem]
    for line in report(rows, scores):
        print(line)


def add_scores(options: argparse.Namespace, rows: list[Trained]) -> None:
    """A line per genotype and proxy at the end of the file."""
    data, table = read(options.data), options.table.stem
    done = {(row["proxy"], row["id"]) for row in read_log(options.out) if row["table"] == table}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with options.out.open("a", encoding="utf-8") as file:
        for name in options.proxies:
            left = [row for row in rows if (name, row.id) not in done]
            if not left:
                continue
            score, maximise = scorer(name, data, options)
            for row in left:
                started = time.perf_counter()
                facts = {
                    "table": table,
                    "proxy": name,
                    "maximise": maximise,
                    "id": row.id,
                    "score": score(row.genotype),
                }
                file.write(json.dumps({**facts, "seconds": round(time.perf_counter() - started, 3)}) + "\n")
                file.flush()


def scorer(name: str, data: Data, options: argparse.Namespace) -> tuple[Score, bool]:
    """A genotype's score, and whether larger is better."""
    if name == SUPERNET:
        return supernet_metric(options.data, options.epochs), True
    proxy = load_proxy(name)
    batch = proxy_batch(data, ROWS if isinstance(proxy, GenNAS) else PEER_ROWS, seed=0)
    return lambda genotype: proxy.score(model_of(genotype, data, seed=0), batch), proxy.maximise


def supernet_metric(spec: str, epochs: int) -> Score:
    """The one-hot validation metric of a supernet trained as by `dashfx search`, without the penalty on wide spans."""
    search = {"epochs": epochs, "batch_size": RECIPE.batch_size, "cost_weight": 0}
    arguments = {"width": WIDTH, "num_classes": read(spec).n_outputs}
    space = SpaceConfig().holding(SPACE.with_original()).model_dump()
    config = {"model_args": arguments, "space": space, "search": search, "valid_fraction": VALID_FRACTION}
    run = prepare("dashfx.backbones:WRN1d", spec, config={**config, "device": "cpu"})
    _, supernet = rewritten(run)
    context = Searching(run, supernet)
    return BySupernet().begin(context, DASH.train(context)).value


def report(rows: Sequence[Trained], lines: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Markdown: rank correlations with the validation and the test metric, then the noise between two seeds."""
    firsts = first_seed(rows)
    yield "| score | n | rho, validation | rho, test | tau, test | s a genotype |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for name, values in {**floors(firsts), **scores_of(lines)}.items():
        known = [row for row in firsts if row.id in values]
        seconds = [line["seconds"] for line in lines if line["proxy"] == name]
        taken = f"{statistics.median(seconds):.1f}" if seconds else ""
        if len(known) > 2:
            yield f"| {name} | {len(known)} | {agreement(known, values)} | {taken} |"
    yield ""
    yield noise(rows)


def floors(rows: Sequence[Trained]) -> dict[str, dict[int, float]]:
    """What needs no proxy: size, work and the mean logarithm of the spans, by the genotype's number."""
    spans = {row.id: statistics.mean(math.log(c.span[0]) for c in row.genotype.values()) for row in rows}
    return {"params": {r.id: r.params for r in rows}, "flops": {r.id: r.flops for r in rows}, "span": spans}


def scores_of(lines: Sequence[Mapping[str, Any]]) -> dict[str, dict[int, float]]:
    """Proxy -> number of the genotype -> score, turned so that larger is better."""
    found: dict[str, dict[int, float]] = {}
    for line in lines:
        found.setdefault(line["proxy"], {})[line["id"]] = line["score"] if line["maximise"] else -line["score"]
    return found


def agreement(rows: Sequence[Trained], values: Mapping[int, float]) -> str:
    """rho with validation and with test, each with its interval, and tau with test, as cells of a table."""
    scores = [values[row.id] for row in rows]
    valid, test = (correlate(scores, metric) for metric in ([r.valid for r in rows], [r.test for r in rows]))
    cells = [(valid.rho, valid.rho_interval), (test.rho, test.rho_interval), (test.tau, test.tau_interval)]
    return " | ".join(f"{value:.2f} [{low:.2f}, {high:.2f}]" for value, (low, high) in cells)


def noise(rows: Sequence[Trained]) -> str:
    """How far two trainings of a genotype differ, and genotypes do; and how well validation foretells test."""
    firsts, twice = first_seed(rows), between_seeds(rows)
    spread = statistics.stdev(row.test for row in firsts)
    lines = [f"{len(firsts)} genotypes: test {statistics.mean(r.test for r in firsts):.4f} ± {spread:.4f} (one seed)"]
    own = correlate([row.valid for row in firsts], [row.test for row in firsts])
    lines.append(f"rho of validation and test {own.rho:.2f}")
    if len(twice) > 2:
        apart = math.sqrt(statistics.mean((a.test - b.test) ** 2 / 2 for a, b in twice))
        same = correlate([a.test for a, _ in twice], [b.test for _, b in twice])
        lines.append(f"{len(twice)} trained twice: {apart:.4f} between seeds, rho of the seeds {same.rho:.2f}")
    return "; ".join(lines)


if __name__ == "__main__":
    main()
