"""Where the wall time of `dashfx search` goes on ten data sets, and what a run costs in trainings of the network.

    python -m benchmarks.whole_run --data UCR --out runs/whole
    python -m benchmarks.whole_run --data UCR --out runs/whole --only digits FacesUCR

UCR is a folder with NAME.npz of the UCR archive (x_train, y_train, x_test, y_test). Each set is one command, `dashfx
search`, in a process of its own with one thread, default effort and an empty cache of measurements; nothing is cut
short, so trainings end where validation has reached its plateau. Small are the data (some hundred rows of a hundred
numbers each, images of at most 28x28) and the networks (thousands to tens of thousands of weights): all ten take about
25 minutes of a core. On such data all that is not training weighs most; larger data and networks make that smaller.

A line of the table is one set: seconds in all, by the process's clock; the share that is no training (imports, data,
validation, measuring, checkpoints, comparing, files, report; training is forward, backward and optimiser); the whole in
trainings of the untouched network, each with its own validation; and seconds by stage. Below stand medians with
quartiles over the sets. A set whose result is there is not run again, and one that was interrupted begins anew, so that
its time is that of one process.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dashfx.ops.autotune.table import processor
from dashfx.run.outcome.account import IMPORT, LOAD, TRAINING, Account

COLUMNS = (
    IMPORT,
    LOAD,
    "rewrite",
    "race",
    "retrain",
    "control",
    "control-longer",
    "compare",
    "ensemble",
    "export",
    "report",
)
MOST_TRAININGS, MOST_BESIDE = 3.5, 0.15  # what is aimed at: medians over the sets
RESULT, WALL = "result.json", "wall.json"


@dataclass(frozen=True)
class Case:
    """A data set with its network.

    Attributes:
        data: as `--data`; of the archive the file's name.
        arguments: of the network's class; `settings` of the run.
    """

    name: str
    data: str
    model: str
    arguments: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()

    def source(self, folder: Path) -> str:
        return str(folder / self.data) if self.data.endswith(".npz") else self.data


def series(name: str, classes: int, *more: str) -> Case:
    """A set of the archive."""
    args = (f"num_classes={classes}", "width=16")
    return Case(name, f"{name}.npz", "dashfx.backbones:WRN1d", args, (*BATCH, *more))


BATCH = ("retrain.batch_size=16",)
PLANE = ("depth=10", "width=1", "num_classes=10", "in_channels=1")
CASES = (
    Case("digits", "digits", "dashfx.backbones:WRN", PLANE),
    Case("mnist5k", "mnist5k", "dashfx.backbones:WRN", PLANE, (*BATCH, "limit=900")),
    Case("planted", "planted", "dashfx.backbones:WRN1d", ("num_classes=4", "width=16"), BATCH),
    Case("darcy", "darcy:33/2", "dashfx.backbones:UNet", ("in_channels=3", "width=4", "depth=2"), BATCH),
    series("FacesUCR", 14),
    series("SwedishLeaf", 15),
    series("SyntheticControl", 6),
    series("ECG5000", 5),
    series("PowerCons", 2),
    series("DistalPhalanxTW", 6),
)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder with the archive's files")
    parser.add_argument("--out", type=Path, required=True, help="where the runs go")
    parser.add_argument("--only", nargs="+", choices=[case.name for case in CASES], metavar="NAME")
    options = parser.parse_args(arguments)
    cases = [case for case in CASES if not options.only or case.name in options.only]
    files = [case.data for case in cases if case.data.endswith(".npz")]
    if missing := [name for name in files if not (options.data / name).is_file()]:
        parser.error(f"no {missing[0]} in {options.data}")
    found = {case.name: account_of(case, options.data, options.out / case.name) for case in cases}
    print(f"{processor()}, one thread")
    print("\n".join(table(found)))


def account_of(case: Case, data: Path, folder: Path) -> Account:
    """The account of a finished run, which is run where it is not there."""
    if not (folder / RESULT).is_file():
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        started = time.perf_counter()
        subprocess.run(command(case, data, folder), check=True, env=environment(folder))
        seconds = time.perf_counter() - started
        (folder / WALL).write_text(json.dumps(round(seconds, 2)) + "\n")
        told = json.loads((folder / RESULT).read_text())["account"]["seconds"]
        print(
            f"{case.name}: {seconds:.1f} s, {seconds - told:.1f} of them before and after what it accounts for",
            flush=True,
        )
    return Account.from_dict(json.loads((folder / RESULT).read_text())["account"])


def command(case: Case, data: Path, folder: Path) -> list[str]:
    """What a user would type."""
    given = [sys.executable, "-m", "dashfx", "search", case.model, "--data", case.source(data), "--out", str(folder)]
    given += ["--model-args", *case.arguments] if case.arguments else []
    given += ["--set", *case.settings] if case.settings else []
    return [*given, "--device", "cpu", "--quiet"]


def environment(folder: Path) -> dict[str, str]:
    """One thread, and measurements that no earlier run has left."""
    cache = folder.with_name(f"{folder.name}-cache")
    shutil.rmtree(cache, ignore_errors=True)
    return {**os.environ, "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(cache)}


def table(found: dict[str, Account]) -> list[str]:
    """Markdown: a line a set, the medians, and whether they are what is aimed at."""
    head = ["set", "seconds", "not training", "trainings", *COLUMNS, "else"]
    lines = [f"| {' | '.join(head)} |", "| --- " * len(head) + "|"]
    lines += [f"| {' | '.join([name, *_cells(each)])} |" for name, each in found.items()]
    beside = [1 - each.share for each in found.values()]
    costs = [each.trainings for each in found.values() if each.trainings is not None]
    said = [f"not training {_median(beside, 100)} %, aimed at {100 * MOST_BESIDE:.0f}: {_is(beside, MOST_BESIDE)}"]
    if costs:
        said.append(f"trainings {_median(costs)}, aimed at {MOST_TRAININGS}: {_is(costs, MOST_TRAININGS)}")
    kinds = {kind: [each.kind(kind) / each.total for each in found.values()] for kind in _kinds(found)}
    shares = ", ".join(f"{kind} {100 * statistics.median(values):.1f} %" for kind, values in kinds.items())
    return [*lines, "", f"medians of {len(found)} sets with quartiles: {'; '.join(said)}", f"by kind: {shares}"]


def _cells(each: Account) -> list[str]:
    other = sum(each.of(row) for row in each.rows if row not in COLUMNS)
    seconds = [each.of(row) if row in each.rows else 0.0 for row in COLUMNS]
    cost = "" if each.trainings is None else f"{each.trainings:.2f}"
    return [f"{each.total:.1f}", f"{100 * (1 - each.share):.0f} %", cost, *(f"{s:.1f}" for s in (*seconds, other))]


def _kinds(found: dict[str, Account]) -> list[str]:
    kinds = dict.fromkeys(kind for each in found.values() for kind in each.kinds)
    return [TRAINING, *(kind for kind in kinds if kind != TRAINING)]


def _median(values: Sequence[float], times: float = 1.0) -> str:
    if len(values) < 2:
        return f"{times * values[0]:.3g}"
    low, middle, high = (times * each for each in statistics.quantiles(values, n=4, method="inclusive"))
    return f"{middle:.3g} [{low:.3g}, {high:.3g}]"


def _is(values: Sequence[float], most: float) -> str:
    return "hit" if statistics.median(values) <= most else "missed"


if __name__ == "__main__":
    main()
