"""Folders that `benchmarks/controls.py` filled go in; a Markdown table of test metrics and wall times comes out.

    python benchmarks/table.py runs/controls/swedishleaf runs/controls/osuleaf

A row per folder and variant: mean and standard deviation (n - 1) of the test metric over the seeds, the validation
metric likewise, parameters, and the median wall time of search and retraining.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Iterable
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


def row(results: list[dict[str, Any]]) -> str:
    def spread(key: str) -> str:
        values = [result[key] for result in results]
        mean = f"{statistics.mean(values):.4f}"
        return f"{mean} ± {statistics.stdev(values):.4f}" if len(values) > 1 else mean

    def median(stage: str) -> str:
        return f"{statistics.median(result['seconds'].get(stage, 0.0) for result in results):.0f}"

    parameters = f"{statistics.median(result['parameters'] for result in results):,.0f}"
    return " | ".join([spread("test"), spread("valid"), parameters, median("search"), median("retrain")])


if __name__ == "__main__":
    main(sys.argv[1:])
