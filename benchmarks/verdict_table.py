"""Rows of `benchmarks/verdict.py` go in; Markdown tables of procedures against each control come out.

    python -m benchmarks.verdict_table runs/verdict --published UCR/published.csv --save measured.csv
    python -m benchmarks.verdict_table benchmarks/ucr/measured.csv      # from the figures that are kept

Gains are differences of test accuracy on the same set and seed, each set counting once; intervals are a bootstrap over
sets, then seeds; wins, ties and losses are by half a point. A procedure looks at validation alone, and its cost is all
that it trains, in trainings of the untouched model. Models are taken as their last epoch leaves them (`--best`: as
their best epoch on validation does, of which the tables then are).
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import combinations
from pathlib import Path
from statistics import fmean

from benchmarks.ucr.intervals import difference, summary
from benchmarks.ucr.measured import Measured, accuracies, measured, read, write
from benchmarks.ucr.procedures import (
    ALL,
    PROCEDURES,
    UNTOUCHED,
    Judge,
    Procedure,
    Scores,
    Trainings,
    by_best,
    by_last,
    by_loss,
    outcomes,
    raced,
    rung_winner,
)
from benchmarks.ucr.recipes import STUDY
from benchmarks.ucr.rows import Rows
from benchmarks.ucr.variants import LADDER, RUNG

CONTROLS = ("untouched, 3 E", "wider (12 for 8)", "random or untouched", "average of 2 untouched")
JUDGES: Mapping[str, Judge] = {"mean of the last 3": by_last, "best epoch": by_best, "loss": by_loss}
PUBLISHED = ("ResNet", "Inception", "InceptionTime", "ROCKET")
BY_SET = (
    *("untouched", "untouched, 3 E", "wider (12 for 8)", "several kernels a conv (ms3)", "DASH or untouched"),
    *("ladder or untouched", "best of untouched, wider, ms3", "average of untouched, wider, ms3"),
)
Values = dict[tuple[str, int], float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", type=Path, help="the folder of benchmarks.verdict, or a CSV that --save wrote")
    parser.add_argument("--published", type=Path, help="a CSV of dataset and of columns of published accuracies")
    parser.add_argument("--best", action="store_true", help="weights of the best epoch in place of the last one's")
    parser.add_argument("--sets", nargs="+", help="only these")
    parser.add_argument("--save", type=Path, metavar="CSV", help="the figures of each procedure, set and seed")
    options = parser.parse_args()
    if options.rows.suffix == ".csv":
        print(tables(read(options.rows), options.published))
        return
    rows = Rows(options.rows)
    if options.sets:
        rows.by_key = {key: row for key, row in rows.by_key.items() if key[0] in options.sets}
    if not any(variant == UNTOUCHED for _, _, variant in rows.by_key):
        parser.error(f"no row of the untouched model in {options.rows}; run benchmarks.verdict first")
    scores = Scores(rows, "_best" if options.best else "")
    found = measured(rows, scores)
    if options.save:
        write(options.save, found)
    parts = [judges_table(scores, rows), weights_table(rows), agreement(rows), recipes_table(rows)]
    print("\n\n".join(part for part in (tables(found, options.published), *parts) if part))


def tables(found: Measured, published: Path | None = None) -> str:
    """All that follows from the figures alone."""
    accuracy = accuracies(found)
    parts = [procedures_table(found), controls_table(accuracy), sets_table(accuracy, published)]
    return "\n\n".join(part for part in parts if part)


def markdown(header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    rule = ["---"] * len(header)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (header, rule, *lines))


def procedures_table(found: Measured) -> str:
    """Each procedure against the untouched model, with its cost and size."""
    lines, accuracy = [], accuracies(found)
    for name, each in found.items():
        gain, of = summary(difference(accuracy[name], accuracy[UNTOUCHED])), each.values()
        sizes = (f"{fmean(getattr(figures, what) for figures in of):.1f}" for what in ("parameters", "macs"))
        interval = "" if name == UNTOUCHED else f"{gain.mean:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]"
        counts = "" if name == UNTOUCHED else f"{gain.wins}/{gain.ties}/{gain.losses}"
        cost = f"{fmean(figures.cost for figures in of):.1f}"
        lines.append([name, interval, counts, f"{100 * gain.harm:.0f} %", cost, *sizes, f"{gain.sets}, {gain.runs}"])
    header = ["procedure", "gain over untouched [95 %]", "w/t/l", "worse by > .02", "cost", "parameters", "MACs", "n"]
    return markdown(header, lines)


def controls_table(accuracy: Mapping[str, Values]) -> str:
    """Each procedure against each control, where both are there."""
    controls = [name for name in CONTROLS if name in accuracy]
    lines = []
    for name, values in accuracy.items():
        if name == UNTOUCHED:
            continue
        cells = []
        for control in controls:
            paired = difference(values, accuracy[control])
            cells.append("" if control == name or not paired else str(summary(paired)))
        lines.append([name, *cells])
    return markdown(["minus the control (mean [95 %], w/t/l)", *controls], lines)


def judges_table(scores: Scores, rows: Rows) -> str:
    """How the last decision is made: the race's winner or the untouched model."""
    own = _tested(scores, PROCEDURES[UNTOUCHED], rows)
    lines = []
    for name, judge in JUDGES.items():
        values = _tested(scores, partial(raced, ALL, judge=judge), rows)
        if values:
            lines.append([name, str(summary(difference(values, own)))])
    return markdown(["last decision by", "race or untouched, gain over untouched"], lines) if lines else ""


def _tested(scores: Scores, procedure: Procedure, rows: Rows) -> Values:
    return {key: scores.accuracy(outcome) for key, outcome in outcomes(procedure, rows).items()}


def weights_table(rows: Rows) -> str:
    """Weights of the epoch that was best on validation against those of the last epoch."""
    lines = []
    for variant in (UNTOUCHED, "wide12", "ms3", "dash"):
        gains = {k[:2]: row["test_best"] - row["test"] for k, row in rows.by_key.items() if k[2] == variant}
        if gains:
            lines.append([variant, str(summary(gains))])
    return markdown(["variant", "best epoch's weights minus the last one's"], lines)


def agreement(rows: Rows) -> str:
    """How often two seeds agree: DASH at a site, the ladder on its winner."""
    sites, winners = [], []
    for name in sorted({key[0] for key in rows.by_key}):
        there = sorted(seed for of, seed, variant in rows.by_key if (of, variant) == (name, "dash"))
        for one, two in combinations(there, 2):
            first, second = (rows.by_key[name, seed, "dash"]["genotype"] for seed in (one, two))
            sites += [first[site] == second[site] for site in first]
        there = sorted(seed for of, seed, variant in rows.by_key if (of, variant) == (name, f"k11{RUNG}"))
        for one, two in combinations(there, 2):
            picks = [rung_winner(tuple(LADDER), Trainings(rows, name, seed))[0] for seed in (one, two)]
            winners.append(picks[0] == picks[1])
    lines = [
        [what, f"{sum(of)} of {len(of)} ({100 * fmean(of):.0f} %)"]
        for what, of in (("DASH, a site", sites), ("ladder, its winner", winners))
        if of
    ]
    return markdown(["two seeds choose alike", "pairs"], lines) if lines else ""


def recipes_table(rows: Rows) -> str:
    """The untouched model by other recipes against the benchmark's."""
    lines = []
    for name in STUDY:
        pairs = [key for key in rows.by_key if key[2] == name and (*key[:2], UNTOUCHED) in rows]
        if pairs:
            test = {key[:2]: rows.by_key[key]["test"] - rows.by_key[*key[:2], UNTOUCHED]["test"] for key in pairs}
            loss = fmean(rows.by_key[k]["valid_loss"] - rows.by_key[*k[:2], UNTOUCHED]["valid_loss"] for k in pairs)
            lines.append([name, str(summary(test)), f"{loss:+.3f}"])
    return markdown(["recipe", "test minus the benchmark's recipe", "validation loss"], lines) if lines else ""


def sets_table(accuracy: Mapping[str, Values], published: Path | None) -> str:
    """Test accuracy by set, the mean over seeds, beside published columns."""
    known: dict[str, dict[str, str]] = {}
    if published is not None:
        with published.open(encoding="utf-8") as file:
            known = {line["dataset"]: line for line in csv.DictReader(file)}
    shown = [name for name in BY_SET if name in accuracy]
    lines = []
    for name in sorted({key[0] for key in accuracy[UNTOUCHED]}):
        of = [[value for key, value in accuracy[procedure].items() if key[0] == name] for procedure in shown]
        cells = [f"{fmean(each):.3f}" if each else "" for each in of]
        others = [f"{float(known[name][column]):.3f}" if name in known else "" for column in PUBLISHED]
        lines.append([name, str(len(of[0])), *cells, *(others if known else [])])
    columns = [f"{column} (published)" for column in PUBLISHED] if known else []
    return markdown(["set", "seeds", *shown, *columns], lines)


if __name__ == "__main__":
    sys.exit(main())
