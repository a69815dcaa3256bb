"""Names of data sets go in; every variant is run on each by one recipe, and the table of results comes out.

    python -m benchmarks.results --data DATA --out runs/table                   # all, small: three hours of one core
    python -m benchmarks.results ECG5000 JSB --data DATA --out runs/table --seeds 0 1
    python -m benchmarks.results --full --data DATA --out runs/full             # the paper's settings: for a GPU

DATA is the folder that `python -m benchmarks.prepare DATA` and `benchmarks/music.py` have filled. The data sets stand
in `benchmarks/tasks.py`, the variants in `benchmarks/controls.py`. What is finished is not run again, so an
interrupted call can simply be repeated; `--table` prints what there is. Bold is what a user gets: of the backbone, the
searched and the tuned model the one that is best on the validation part, of equals the first.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from pathlib import Path
from typing import Any

import torch

from benchmarks.controls import run
from benchmarks.table import by_variant, with_spread
from benchmarks.tasks import ENTRIES
from dashfx.run.folder import RunFolder
from dashfx.train.progress import read_log
from dashfx.tune import Tuned

COLUMNS = {
    "untouched": "backbone",
    "random": "random",
    "all-3": "all-3",
    "baby": "Baby DASH",
    "searched": "searched",
    "tuned": "searched + tuned",
}
CHOICE = ("untouched", "searched", "tuned")
SMALL_TRIALS, FULL_TRIALS = 4, 24  # the paper's grid has 24, 12 without dropout layers

Results = dict[str, list[dict[str, Any]]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(ENTRIES)}; all without any")
    parser.add_argument("--data", type=Path, default=Path())
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--full", action="store_true", help="all rows and the paper's settings")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--variants", nargs="+", choices=COLUMNS, default=list(COLUMNS))
    parser.add_argument("--set", dest="settings", action="append", default=[], help="goes over the recipe")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--table", action="store_true", help="only print what is finished")
    options = parser.parse_args()
    names = options.names or list(ENTRIES)
    if unknown := [name for name in names if name not in ENTRIES]:
        parser.error(f"no data set {unknown[0]!r}; there are {', '.join(ENTRIES)}")
    torch.set_num_threads(options.threads)
    for name in [] if options.table else names:
        for seed in options.seeds:
            for variant in options.variants:
                run(call(name, options), variant, seed)
    print_tables({name: by_variant(options.out / name) for name in names}, options.out)


def call(name: str, options: argparse.Namespace) -> argparse.Namespace:
    """The command line of `benchmarks/controls.py` for one data set."""
    entry = ENTRIES[name]
    return argparse.Namespace(
        model=entry.model,
        args=entry.arguments(options.full),
        data=located(entry.full_data or entry.data if options.full else entry.data, options.data),
        settings=[*entry.options(options.full), *options.settings],
        trials=FULL_TRIALS if options.full else SMALL_TRIALS,
        out=options.out / name,
    )


def located(data: str, folder: Path) -> str:
    """Files in their folder; what is generated has none."""
    return "+".join(str(folder / file) for file in data.split("+")) if ".npz" in data else data


def print_tables(found: dict[str, Results], out: Path) -> None:
    print(f"| data | metric | n | {' | '.join(COLUMNS.values())} | published |")
    print("| --- " * (len(COLUMNS) + 4) + "|")
    for name, results in found.items():
        if results:
            print(f"| {name} | {metrics(results)} | {ENTRIES[name].anchors} |")
    print(f"\n| data | {' | '.join(COLUMNS.values())} |")
    print("| --- " * (len(COLUMNS) + 1) + "|")
    for name, results in found.items():
        if results:
            print(f"| {name} | {' | '.join(seconds(results, variant, out / name) for variant in COLUMNS)} |")


def metrics(results: Results) -> str:
    """The test metric of each variant, mean and deviation over seeds; of `CHOICE`, the best on validation is bold."""
    first = next(iter(results.values()))[0]
    there = [variant for variant in CHOICE if variant in results]
    valid = {variant: statistics.mean(each["valid"] for each in results[variant]) for variant in there}
    best = (max if first["maximise"] else min)(valid, key=valid.__getitem__, default="")
    cells = [spread(results.get(variant, []), bold=variant == best) for variant in COLUMNS]
    runs = {len(each) for each in results.values()}
    count = str(runs.pop()) if len(runs) == 1 else f"{min(runs)}-{max(runs)}"
    return " | ".join([f"{first['metric']} {'↑' if first['maximise'] else '↓'}", count, *cells])


def spread(results: list[dict[str, Any]], bold: bool) -> str:
    if not results:
        return ""
    text = with_spread([each["test"] for each in results], digits=3)
    return f"**{text}**" if bold else text


def seconds(results: Results, variant: str, out: Path) -> str:
    """Search + retraining, of the tuned one trials + retraining; medians over seeds."""
    if variant not in results:
        return ""
    folders = sorted(path.parent for path in out.glob(f"{variant}-*/result.json"))
    logs = [read_log(RunFolder(folder).log) for folder in folders]
    found = {stage: [unpaused(epoch_seconds(log, stage)) for log in logs] for stage in ("search", "retrain")}
    if variant == "tuned":
        studies = [Tuned.load(RunFolder(path.parent).tuned) for path in out.glob("searched-*/tuned.json")]
        found["search"] = [sum(trial.seconds for trial in study.trials) for study in studies]
    parts = map(statistics.median, found.values())
    return " + ".join(f"{part:.0f}" for part in parts if round(part))


def epoch_seconds(log: list[dict[str, Any]], stage: str) -> list[float]:
    return [line["seconds"] for line in log if line["event"] == "epoch" and line["stage"] == stage]


def unpaused(epochs: list[float]) -> float:
    """What they take together, as if each took their median: a run may have been stopped for a while."""
    return len(epochs) * statistics.median(epochs) if epochs else 0.0


if __name__ == "__main__":
    sys.exit(main())
