"""Gradient methods on a table's data and space, each for the same wall time, as JSONL: a line a method and seed."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from benchmarks.kd import train, whole
from benchmarks.kd.load import Trained, load
from benchmarks.kd.table import VALID_FRACTION, read
from dashfx.config.methods import METHODS as KNOWN
from dashfx.config.methods import over
from dashfx.config.run import RunConfig
from dashfx.config.space import SpaceConfig
from dashfx.errors import DashfxError
from dashfx.genotype import Genotype
from dashfx.run.prepare import prepare
from dashfx.run.run import Run
from dashfx.space import SearchSpace
from dashfx.stages.rewrite import rewritten
from dashfx.stages.search import Searching
from dashfx.train.progress import read_log

METHODS = [name for name, each in KNOWN.items() if each.options["search"].get("strategy") == "dash"]
MOST = 200  # epochs


def carried_out(options: argparse.Namespace) -> int:
    """A line for each method and seed that the file does not hold yet; what a method cannot do is a line too."""
    done = {(line["method"], line["seed"]) for line in read_log(options.out)}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    for seed in options.seeds:
        for method in options.methods:
            if (method, seed) in done:
                continue
            facts = {"table": options.table.stem, "method": method, "seed": seed, **line(options, method, seed)}
            with options.out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(facts) + "\n")
            print(json.dumps({key: value for key, value in facts.items() if key != "genotype"}), flush=True)
    return 0


def line(options: argparse.Namespace, method: str, seed: int) -> dict[str, Any]:
    """What a search of the given time finds, and what that is worth."""
    try:
        settings = settings_of(options.table, options.data, method, seed)
        epochs = epochs_within(options, settings)
        started = time.perf_counter()
        genotype = searched(options.data, settings, epochs)
        spent = time.perf_counter() - started
    except DashfxError as error:
        return {"failure": str(error)}
    return {"epochs": epochs, "seconds": round(spent, 1), **worth(options, genotype, seed)}


def settings_of(table: Path, data: str, method: str, seed: int) -> dict[str, Any]:
    """The options of a search in the table's space, by the method."""
    facts = json.loads(table.read_text(encoding="utf-8"))
    model, *pairs = facts["model"].split()
    arguments = {name: int(value) for name, _, value in (pair.partition("=") for pair in pairs)}
    choices = [text.split(",") for text in facts["candidates"]]
    space = SearchSpace.product(sorted({int(k) for k, _ in choices}), sorted({int(d) for _, d in choices}))
    held = SpaceConfig().holding(space).model_dump(mode="json") | {"keep_original": False}
    shared = {"model": model, "model_args": arguments, "data": data, "space": held, "seed": seed, "device": "cpu"}
    fit = {"batch_size": facts["recipe"]["batch_size"], "autotune": False}
    return over({**shared, "valid_fraction": VALID_FRACTION, "search": fit}, method)


def epochs_within(options: argparse.Namespace, settings: dict[str, Any]) -> int:
    """How many epochs fit into the seconds, by the time that searches of two and one take."""
    times = []
    for epochs in (1, 2):
        started = time.perf_counter()
        searched(options.data, settings, epochs)
        times.append(time.perf_counter() - started)
    each = max(times[1] - times[0], 0.25 * times[1], 1e-3)  # a difference of noise would be no time at all
    return max(1, min(MOST, int(1 + (options.seconds - times[0]) / each)))


def searched(data: str, settings: dict[str, Any], epochs: int) -> Genotype:
    """What the method chooses after so many epochs."""
    config = RunConfig.parse({**settings, "search": {**settings["search"], "epochs": epochs}})
    run: Run = prepare(str(config.model), data, config=config)
    return run.strategy.search(Searching(run, rewritten(run)[1]))


def worth(options: argparse.Namespace, genotype: Genotype, seed: int) -> dict[str, Any]:
    """The genotype's metrics: the table's, or those of a training by the table's recipe where it is not there."""
    rows = [row for row in load(options.table) if row.genotype == genotype]
    choices = {name: f"{c.kernel[0]},{c.dilation[0]}" for name, c in genotype.items()}
    if rows:
        return {"genotype": choices, "looked_up": True, "test": sum(r.test for r in rows) / len(rows)}
    return {"genotype": choices, "looked_up": False, "test": trained(options, genotype, seed)["test"]}


def trained(options: argparse.Namespace, genotype: Genotype, seed: int) -> dict[str, Any]:
    """The facts of one training by the table's own network and recipe."""
    facts = json.loads(options.table.read_text(encoding="utf-8"))
    if facts["model"].startswith(whole.MODEL):
        return whole.row_of(options.data, whole.genotypes().index(genotype), seed)
    return train.row_of(genotype, read(options.data), seed)


def chance(rows: list[Trained]) -> list[float]:
    """The test metrics of the table's random draws, the mean over the seeds of each genotype."""
    drawn: dict[Genotype, list[float]] = {}
    for row in rows:
        if row.draw in ("uniform", "all"):
            drawn.setdefault(row.genotype, []).append(row.test)
    return [sum(values) / len(values) for values in drawn.values()]
