"""Rows of the deploying benchmark as a Markdown table: ratios to plain export, drops, and geometric means."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import geometric_mean, median
from typing import Any

from benchmarks.deploy.files import NNCF, ORT, ORT_U8, OURS, OURS_INT8, PLAIN

Row = Mapping[str, Any]
FILES = (OURS, OURS_INT8, ORT, ORT_U8, NNCF)
INT8 = FILES[1:]


def table(rows: Sequence[Row]) -> str:
    """How many times as fast as plain export, and how much less of the metric than in float ± one standard error."""
    head = ["model", "plain, ms", *FILES, *(f"drop, {file}" for file in INT8), "± (1 s.e.)"]
    lines = [head, ["---"] * len(head), *(_line(row) for row in rows)]
    groups = {"geometric mean": rows, "of the 1-D ones": [row for row in rows if row["sequence"]]}
    for name, group in groups.items():
        if group:
            means = [_mean(group, file) for file in FILES]
            lines.append([name, "", *means, *[""] * (len(INT8) + 1)])
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return "\n\n".join([text, *_said(rows)])


def ratios(row: Row, file: str) -> list[float]:
    """Of each repeat: seconds of a call of the plain file over those of this one; none where there is no such file."""
    times = row["times"]
    return [plain / own for plain, own in zip(times[PLAIN], times.get(file, ()), strict=False)]


def drop(row: Row, file: str) -> float | None:
    """How much worse the test metric is than in float."""
    metrics = row["metrics"]
    return metrics[PLAIN][0] - metrics[file][0] if file in metrics else None


def _line(row: Row) -> list[str]:
    plain, error = row["times"][PLAIN], row["metrics"][PLAIN][1]
    drops = ["-" if (lost := drop(row, file)) is None else f"{lost:+.4f}" for file in INT8]
    return [row["model"], f"{1e3 * median(plain):.3g}", *(_ratio(row, file) for file in FILES), *drops, f"{error:.4f}"]


def _ratio(row: Row, file: str) -> str:
    found = ratios(row, file)
    return f"{median(found):.2f} ({min(found):.2f}-{max(found):.2f})" if found else "-"


def _mean(rows: Sequence[Row], file: str) -> str:
    found = [median(each) for row in rows if (each := ratios(row, file))]
    return f"{geometric_mean(found):.2f}" + (f" (n = {len(found)})" if len(found) < len(rows) else "") if found else "-"


def _said(rows: Sequence[Row]) -> list[str]:
    """What the targets say, the machine, and why a file is missing."""
    worst = min((median(ratios(row, OURS)), row["model"]) for row in rows)
    drops = {row["model"]: (drop(row, OURS_INT8), row["metrics"][PLAIN][1]) for row in rows}
    large = [model for model, (lost, error) in drops.items() if lost is not None and lost > error]
    slower = [row["model"] for row in rows if _best(row, OURS_INT8) < _best(row, ORT, ORT_U8)]
    lines = [f"- slowest beside plain export: {worst[1]}, {worst[0]:.2f} times as fast"]
    lines.append(f"- drops of more than one standard error, ours int8: {', '.join(large) or 'none'}")
    lines.append(f"- slower than ONNX Runtime's recipe, ours int8: {', '.join(slower) or 'none'}")
    for row in rows:
        lines += [f"- {row['model']}, {file}: {why}" for file, why in row["said"].items() if file not in row["times"]]
    row = rows[0]
    repeats = len(row["times"][PLAIN])
    made = f"ONNX Runtime {row['onnxruntime']}, torch {row['torch']}, {row['threads']} thread, one row a call"
    return ["\n".join(lines), f"{row['machine']}; {made}, {repeats} repeats"]


def _best(row: Row, *files: str) -> float:
    return max((median(found) for file in files if (found := ratios(row, file))), default=-math.inf)
