"""Does a search reproduce? The choices of several seeds of each variant of DASH, and at how many sites they agree.

    python benchmarks/agreement.py --data ucr/CricketX.npz ucr/FaceAll.npz --seeds 0 1 2 --out runs/agreement

Only the search is run, nothing is retrained: a row of `rows.jsonl` is the choice of one search, with the coefficient of
each site's choice. A seed draws the split, the weights, the order of batches and the noise. What has a row is not run
again, so that an interrupted call can simply be repeated; a search that was killed begins anew. The table counts pairs
of seeds: the share of sites at which they choose alike, what chance would do (the mean of one over the number of
candidates), in how many pairs all sites agree, and the mean coefficient of what was chosen.

Variants: "faithful" is the paper's search; "longer" has three times its steps; "held-out" learns mixtures on held-out
rows; "normalised" has the gradients of the authors' code; "cold" has a temperature that falls to a fifth; "all",
"stage" and "shape" tie mixtures. With `+` they add up, as in "all+longer".
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, groupby
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from dashfx.config.files import assign
from dashfx.config.run import RunConfig
from dashfx.data import load_data
from dashfx.run.preflight import check_search
from dashfx.run.prepare import prepare
from dashfx.stages.rewrite import rewritten
from dashfx.stages.search import searched

LONGER = 3
VARIANTS: dict[str, dict[str, Any]] = {
    "faithful": {},
    "longer": {},
    "held-out": {"search.update": "first-order"},
    "normalised": {"search.update": "normalised:scale=10", "search.alpha_optimizer": "sgd"},
    "cold": {"search.tau": "[1.0,0.2]"},
    "all": {"search.tie": "all"},
    "stage": {"search.tie": "stage"},
    "shape": {"search.tie": "shape"},
}


@dataclass(frozen=True)
class Row:
    """The choice of one search.

    Attributes:
        choices, coefficients, candidates: of each site, the candidate, its share of the mixture at the end, and how
            many there were.
    """

    data: str
    variant: str
    seed: int
    steps: int
    choices: Mapping[str, str]
    coefficients: Mapping[str, float]
    candidates: Mapping[str, int]

    @property
    def key(self) -> tuple[str, str, int]:
        return self.data, self.variant, self.seed


def main() -> None:
    options = arguments().parse_args()
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "rows.jsonl"
    for data in options.data:
        for seed in options.seeds:
            for variant in options.variants:
                if (Path(data).stem, variant, seed) not in {row.key for row in read(path)}:
                    append(path, run(options, data, variant, seed))
    print(table(read(path)))


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="dashfx.backbones:WRN1d")
    parser.add_argument("--args", nargs="*", default=["width=8"], help="name=value of the model's class")
    parser.add_argument(
        "--classes", default="num_classes", help="the argument that takes the data's outputs; '' for none"
    )
    parser.add_argument("--data", nargs="+", required=True, help="files, such as ucr/CricketX.npz")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), help="also added up: all+longer")
    parser.add_argument("--steps", type=int, default=170, help="of a search, about")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--limit", type=int, default=None, help="at most so many rows of each part")
    parser.add_argument("--set", dest="settings", action="append", default=[])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    return parser


def run(options: argparse.Namespace, data: str, variant: str, seed: int) -> Row:
    """One search, without a folder and without what follows it."""
    parts = variant.split("+")
    settings: dict[str, Any] = {"seed": seed, "control": False, "limit": options.limit, "device": "cpu"}
    settings = assign(settings, [f"search.batch_size={options.batch_size}", "search.autotune=false", *options.settings])
    settings = assign(settings, [f"{name}={value}" for part in parts for name, value in VARIANTS[part].items()])
    classes = {options.classes: load_data(data).n_outputs} if options.classes else {}
    settings["model_args"] = assign(classes, options.args)
    config = RunConfig.parse(settings)
    made = prepare(options.model, data, config=config, check=check_search)
    steps = options.steps * (LONGER if "longer" in parts else 1)
    share = 1 - config.search.held_out if made.strategy.training and made.strategy.training.holds_out else 1.0
    epoch = max(1, int(share * len(made.inputs.data.train)) // options.batch_size)
    search = config.search.model_copy(update={"epochs": max(1, round(steps / epoch))})
    made = made.with_config(config.model_copy(update={"search": search}))
    _, supernet = rewritten(made)
    genotype = searched(made, supernet)[0]
    found = made.ledger.found[0]
    print(f"{Path(data).stem} {variant} {seed}: {', '.join(dict.fromkeys(map(str, genotype.values())))}", flush=True)
    return Row(
        Path(data).stem,
        variant,
        seed,
        sum(each.steps for each in made.ledger.history),
        {name: str(choice) for name, choice in genotype.items()},
        {name: round(share, 4) for name, share in found.coefficients.items() if share is not None},
        dict(found.candidates),
    )


def read(path: Path) -> list[Row]:
    """The rows so far; a last line that was cut short does not count."""
    lines = path.read_text().splitlines(keepends=True) if path.is_file() else []
    return [Row(**json.loads(line)) for line in lines if line.endswith("\n")]


def append(path: Path, row: Row) -> None:
    text = path.read_text() if path.is_file() else ""
    text = text[: text.rfind("\n") + 1]  # what was cut short goes
    path.write_text(text + json.dumps(vars(row)) + "\n")


@dataclass(frozen=True)
class Agreed:
    """What the seeds of one variant on one data set agree on, over all pairs of them."""

    pairs: int
    alike: float
    chance: float
    whole: int
    coefficient: float


def agreed(rows: Sequence[Row]) -> Agreed:
    """Of at least two rows that differ by their seeds alone."""
    sites = [name for name, count in rows[0].candidates.items() if count > 1]
    pairs = list(combinations(rows, 2))
    same = [[a.choices[name] == b.choices[name] for name in sites] for a, b in pairs]
    return Agreed(
        len(pairs),
        fmean(fmean(each) for each in same),
        fmean(1 / rows[0].candidates[name] for name in sites),
        sum(all(each) for each in same),
        fmean(row.coefficients[name] for row in rows for name in sites),
    )


def table(rows: Iterable[Row]) -> str:
    """As Markdown: a line a variant over all data sets, then the choices of what is tied."""
    by = sorted(rows, key=lambda row: (list_place(row.variant), row.data, row.seed))
    lines = ["| variant | sets, seeds, steps | sites alike | chance | pairs alike at every site | coefficient |"]
    lines += ["| --- | --- | --- | --- | --- | --- |"]
    for variant, group in groupby(by, key=lambda row: row.variant):
        sets = [list(each) for _, each in groupby(group, key=lambda row: row.data)]
        found = [agreed(each) for each in sets if len(each) > 1]
        if not found:
            continue
        pairs, whole = sum(each.pairs for each in found), sum(each.whole for each in found)
        seeds, steps = max(map(len, sets)), round(fmean(row.steps for each in sets for row in each))
        alike, chance, share = (
            fmean(getattr(each, name) for each in found) for name in ("alike", "chance", "coefficient")
        )
        lines.append(
            f"| {variant} | {len(found)}, {seeds}, {steps} | {alike:.2f} | {chance:.2f} | {whole} of {pairs} | "
            f"{share:.2f} |"
        )
    return "\n".join(lines)


def list_place(variant: str) -> tuple[int, str]:
    """Variants in their order above, sums of them behind."""
    names = list(VARIANTS)
    return (names.index(variant) if variant in names else len(names)), variant


if __name__ == "__main__":
    sys.exit(main())
