"""Folders that `benchmarks/controls.py` filled go in; a Markdown table of test metrics and wall times comes out.

    python benchmarks/table.py runs/controls/swedishleaf runs/controls/osuleaf

A row per folder and variant: mean and standard deviation (n - 1) of the test metric over the seeds, the validation
metric likewise, parameters, and the median wall time of search and retraining.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any


def main(folders: Iterable[str]) -> None:
    print("| data | variant | n | test | validation | parameters | search s | retrain s |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for folder in map(Path, folders):
        for variant, results in by_variant(folder).items():
            print(f"| {folder.name} | {variant} | {len(results)} | {row(results)} |")


def by_variant(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Variant -> the results of its seeds, in the order of seeds."""
    found: dict[str, list[dict[str, Any]]] = {}
    for path in sorted(folder.glob("*-*/result.json")):
        variant = path.parent.name.rpartition("-")[0]
        found.setdefault(variant, []).append(json.loads(path.read_text()))
    return found


def with_spread(values: Sequence[float], digits: int = 4) -> str:
    """The mean, and where values differ their standard deviation (n - 1)."""
    mean = f"{statistics.mean(values):.{digits}f}"
    return f"{mean} ± {statistics.stdev(values):.{digits}f}" if len(set(values)) > 1 else mean


def row(results: list[dict[str, Any]]) -> str:
    def median(stage: str) -> str:
        return f"{statistics.median(result['seconds'].get(stage, 0.0) for result in results):.0f}"

    metrics = [with_spread([result[part] for result in results]) for part in ("test", "valid")]
    parameters = f"{statistics.median(result['parameters'] for result in results):,.0f}"
    return " | ".join([*metrics, parameters, median("search"), median("retrain")])


if __name__ == "__main__":
    main(sys.argv[1:])
