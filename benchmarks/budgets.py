"""Does a budget of latency hold on the exported file, and what does it cost in quality?

    python -m benchmarks.budgets --data DATA --out runs/budgets
    python -m benchmarks.budgets --data DATA --out runs/budgets --only ECG200 --share 0.7

DATA holds cifar10_train20k.npz (x, y; a fifth each becomes validation and test) and ucr/NAME.npz (x_train, y_train,
x_test, y_test). Ten searches by DASH, four on CIFAR-10 (WRN-16-1) and three on each of two sets of the UCR archive
(WRN-1d of width 16), each with a budget of latency of `--share` of the untouched model's, and each again without one.
Kernels are 1, 3, 5 and 7 and dilations 1 and 3, so that there is something faster than the models' own. The untouched
model is trained beside all of them by the same recipe. A budget is held where model.onnx, timed in turn with the
untouched model on one thread of the CPU provider, takes no more than its share. A run that is there is not run again,
and one that was interrupted goes on, so a call can simply be repeated.

What counts is that at least nine of the ten hold. Metrics are of one short training each, on the test part: 3,000
images and 8 epochs of CIFAR-10, so they are far below what these networks reach.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dashfx

SPACE = {"kernels": [1, 3, 5, 7], "dilations": [1, 3]}
ENOUGH = 0.9  # of the runs have to hold
BUDGETED, FREE = "budget", "free"


@dataclass(frozen=True)
class Case:
    """A data set with its model, the seeds of its runs and the recipe.

    Attributes:
        file: below the folder of `--data`.
        recipe: options of a run beside those of every run.
    """

    name: str
    file: str
    model: str
    model_args: Mapping[str, Any]
    seeds: tuple[int, ...]
    recipe: Mapping[str, Any]


def series(name: str, classes: int, epochs: int) -> Case:
    """A set of the UCR archive."""
    args = {"num_classes": classes, "in_channels": 1, "width": 16}
    recipe = {"search": {"epochs": epochs, "batch_size": 16}, "retrain": {"epochs": epochs, "batch_size": 16}}
    return Case(name, f"ucr/{name}.npz", "dashfx.backbones:WRN1d", args, (0, 1, 2), recipe)


CASES = (
    Case(
        "CIFAR-10",
        "cifar10_train20k.npz",
        "dashfx.backbones:WRN",
        {"depth": 16, "width": 1},
        (0, 1, 2, 3),
        {
            "limit": 3000,
            "search": {"epochs": 4, "batch_size": 64},
            "retrain": {"epochs": 8, "batch_size": 64},
        },
    ),
    series("ECG200", 2, 30),
    series("CricketX", 12, 16),
)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder with the data")
    parser.add_argument("--out", type=Path, required=True, help="where the runs go")
    parser.add_argument("--share", type=float, default=0.7, help="of the untouched model's latency")
    parser.add_argument("--only", nargs="+", choices=[case.name for case in CASES], metavar="NAME")
    options = parser.parse_args(arguments)
    cases = [case for case in CASES if not options.only or case.name in options.only]
    if missing := [case.file for case in cases if not (options.data / case.file).is_file()]:
        parser.error(f"no {missing[0]} in {options.data}")
    rows = [row for case in cases for row in rows_of(case, options.data, options.out, options.share)]
    (options.out / "rows.json").write_text(json.dumps(rows, indent=2) + "\n")
    print("\n".join(table(rows, options.share)))


def rows_of(case: Case, data: Path, out: Path, share: float) -> Iterator[dict[str, Any]]:
    """What each seed came to, with and without the budget."""
    for seed in case.seeds:
        for variant, budgets in ((BUDGETED, [f"latency={share:g}x"]), (FREE, [])):
            folder = out / f"{case.name}-{variant}-{seed}"
            yield row_of(case, seed, variant, finished(case, seed, budgets, data, folder))


def finished(case: Case, seed: int, budgets: list[str], data: Path, folder: Path) -> dict[str, Any]:
    """The `result.json` of a run, which is run or continued where it is not there."""
    if not (folder / "result.json").is_file():
        config = settings(case, seed, budgets)
        resume = (folder / "config.yaml").is_file()
        dashfx.search(case.model, str(data / case.file), out=folder, config=config, resume=resume)
    facts: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return facts


def settings(case: Case, seed: int, budgets: list[str]) -> dict[str, Any]:
    """The options of a run."""
    search = {"strategy": "dash", **case.recipe["search"], "budgets": budgets}
    common = {"model_args": dict(case.model_args), "space": SPACE, "seed": seed, "control": True, "device": "cpu"}
    return {**common, "finalists": {"longer": False}, **case.recipe, "search": search}


def row_of(case: Case, seed: int, variant: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """What a table needs of a run."""
    models, (spent, *_) = facts["models"], facts["budgets"] or [None]
    row = {"case": case.name, "seed": seed, "variant": variant, "metric": facts["metric"]}
    row |= {name: models[name]["test"] for name in ("searched", "untouched") if name in models}
    if spent:
        row |= {name: spent[name] for name in ("held", "limit", "measured", "estimated")}
    return row


def table(rows: Sequence[Mapping[str, Any]], share: float) -> list[str]:
    """A line a seed, and how many runs hold, against what is enough."""
    free = {(row["case"], row["seed"]): row for row in rows if row["variant"] == FREE}
    budgeted = [row for row in rows if row["variant"] == BUDGETED]
    head = ("data", "seed", "file, of the limit", "held", f"test, at {share:g}x", "without a budget", "untouched")
    lines = [f"| {' | '.join(head)} |", "|---|" + "---:|" * (len(head) - 1)]
    for row in budgeted:
        other = free.get((row["case"], row["seed"]), {})
        used, held = row["measured"] / row["limit"], "yes" if row["held"] else "no"
        metrics = (row.get("searched"), other.get("searched"), row.get("untouched"))
        shown = " | ".join("" if each is None else f"{each:.4f}" for each in metrics)
        lines.append(f"| {row['case']} | {row['seed']} | {used:.3f} | {held} | {shown} |")
    held, enough = sum(row["held"] for row in budgeted), ENOUGH * len(budgeted)
    lines += ["", f"{held} of {len(budgeted)} hold; {'enough' if held >= enough else 'too few'}"]
    return lines


if __name__ == "__main__":
    main()
