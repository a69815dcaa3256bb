"""Command-line options go in; each chosen model of the zoo is taken through every step, and the table is written.

    PYTHONPATH=tests python -m zoo --out runs/zoo --table docs/reference/coverage.md

A run may be stopped at any time: the next one goes on with what is not in the folder yet.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import warnings
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from zoo.build import NotForTheZoo, build, params_of, survey
from zoo.catalogue import PACKAGES, in_order
from zoo.entry import Entry
from zoo.imports import prepare
from zoo.isolate import isolated
from zoo.results import STEPS, Record, Results, outcome
from zoo.steps import walk
from zoo.table import write, write_versions

import dashfx

GIB = 2**30
SURVEY_SECONDS = 60


def main() -> None:
    options = _options()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    results = Results(options.out, "models", f"-{options.shard[0]}")
    if not options.table_only:
        prepare()
        listed = (entry for package in options.packages for entry in PACKAGES[package]())
        entries = [entry for entry in listed if any(fnmatchcase(entry.name, glob) for glob in options.models)]
        facts = _surveyed(entries, Results(options.out, "survey", f"-{options.shard[0]}"), options)
        chosen = _chosen(in_order(entries, facts), results, options)
        write_versions(options.out)
        _warm_up()
        work = [(entry, partial(_through, entry, options.until)) for entry in chosen]
        print(f"{len(chosen)} models to run", flush=True)
        for entry, record in isolated(
            work, seconds=options.limit_seconds, memory=int(options.memory * GIB), workers=options.workers
        ):
            record = _of(entry) | record
            results.append(record)
            print(f"{entry.package:12} {entry.name:44} {outcome(record):20} {record.get('error', '')}", flush=True)
    if options.table:
        write(options.out, options.table)


def _options() -> Any:
    parser = argparse.ArgumentParser(description="Takes other people's models through every step of dashfx.")
    parser.add_argument("--packages", type=lambda text: text.split(","), default=list(PACKAGES), help="a,b,...")
    parser.add_argument("--models", type=lambda text: text.split(","), default=["*"], help="globs over names")
    parser.add_argument("--sample", type=int, help="only the first so many; the smallest of each family come first")
    parser.add_argument("--shard", type=_shard, default=(0, 1), metavar="I/N", help="every Nth model from the Ith on")
    parser.add_argument("--workers", type=int, default=1, help="models at a time")
    parser.add_argument("--until", choices=STEPS, default=STEPS[-1], help="the last step to run; export takes longest")
    parser.add_argument("--limit-seconds", type=float, default=240, help="per model")
    parser.add_argument("--memory", type=float, default=8, help="GiB per model")
    parser.add_argument("--rerun", default="", metavar="WORD", help="run again what has this word in its record")
    parser.add_argument("--out", type=Path, default=Path("runs/zoo"), help="folder of the records")
    parser.add_argument("--table", type=Path, help="write this page from all records of the folder")
    parser.add_argument("--table-only", action="store_true", help="run nothing")
    return parser.parse_args()


def _shard(text: str) -> tuple[int, int]:
    index, _, count = text.partition("/")
    return int(index), int(count)


def _surveyed(entries: list[Entry], results: Results, options: Any) -> dict[tuple[str, str], Record]:
    known = results.read()
    new = [(entry, partial(_facts, entry)) for entry in entries if (entry.package, entry.name) not in known]
    print(f"{len(entries)} models, {len(new)} of them new", flush=True)
    memory = int(options.memory * GIB)
    for entry, record in isolated(new, seconds=SURVEY_SECONDS, memory=memory, workers=options.workers):
        if "ended" in record:
            record = {"skipped": f"cannot be built within {SURVEY_SECONDS} s and {options.memory:g} GiB"}
        results.append(_of(entry) | record)
    return results.read()


def _chosen(entries: list[Entry], results: Results, options: Any) -> list[Entry]:
    done = results.read()
    index, count = options.shard
    mine = entries[: options.sample][index::count]
    return [entry for entry in mine if _again(done.get((entry.package, entry.name)), options)]


def _again(record: Record | None, options: Any) -> bool:
    """Whether there is no record yet, or one that ends before the step asked for, or one to be made anew."""
    if record is None:
        return True
    to_do = [step for step in STEPS[: STEPS.index(options.until) + 1] if f"{step} not run" == outcome(record)]
    return bool(to_do or (options.rerun and options.rerun in f"{outcome(record)} {json.dumps(record)}"))


def _of(entry: Entry) -> Record:
    return {"package": entry.package, "name": entry.name, "family": entry.family, "at": time.time()}


def _facts(entry: Entry) -> Iterator[Record]:
    yield survey(entry)


def _through(entry: Entry, until: str) -> Iterator[Record]:
    try:
        model, inputs = build(entry)
        about = {"params": params_of(model), "inputs": [list(x.shape) for x in inputs]}
        yield about
        for record in walk(model, inputs, until):
            yield about | {"until": until} | record
    except NotForTheZoo as error:
        yield {"skipped": str(error)}


def _warm_up() -> None:
    """What is read at its first use is read once here instead of once in every child: stages, the exporter's tables."""
    import onnxruntime  # noqa: F401

    for stage in ("trace", "rewrite", "lower", "export"):
        getattr(dashfx, stage)
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "warm.onnx"
        torch.onnx.export(nn.Conv2d(1, 1, 3).eval(), (torch.ones(1, 1, 4, 4),), target, dynamo=True, verbose=False)


if __name__ == "__main__":
    main()
