"""Files of a run's model side by side, as a table: metric, size and latency of each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from dashfx.cli.tables.shared import table

if TYPE_CHECKING:
    from dashfx.cost.files import Percentiles
    from dashfx.run.result import Result


def compared(result: Result) -> Table:
    """The PyTorch model, and each ONNX file; times are milliseconds of one thread of ONNX Runtime's CPU provider."""
    sizes = [each.rows for each in result.files[0].latency]
    columns = ("MB", *(f"ms, {rows} row{'s' * (rows > 1)}" for rows in sizes))
    metric = f"valid {result.task.metric_name}"
    made = table("files, on one CPU thread, p50 / p95", "", metric, *columns, numbers=(metric, *columns))
    valid = result.valid if result.refit is None else result.refit
    made.add_row("PyTorch", f"{valid:.4f}", *("" for _ in columns))
    for each in result.files:
        made.add_row(each.name, f"{each.metric:.4f}", f"{each.bytes / 1e6:.3g}", *map(_times, each.latency))
    return made


def _times(found: Percentiles) -> str:
    return f"{1e3 * found.p50:.3g} / {1e3 * found.p95:.3g}"
