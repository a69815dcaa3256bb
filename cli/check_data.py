"""The data of `dashfx check` goes in; what stands in it, part by part, is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dashfx.cli import render
from dashfx.cli.tables import shared as tables
from dashfx.space import size_text

if TYPE_CHECKING:
    from rich.table import Table

    from dashfx.config.run import RunConfig
    from dashfx.data import Data
    from dashfx.data.checks.survey import Survey

SHOWN = 30  # classes; the others are summed up


def load(settings: RunConfig) -> Data:
    """The data as a run with these settings would have it."""
    from dashfx.run.prepare import load_run_data

    return load_run_data(settings, settings.data)


def show_data(data: Data) -> None:
    """Shapes, ranges, classes and how they were understood; leaks are warned about.

    Raises:
        DataError: a part that holds nothing but rows of another.
    """
    from dashfx.data.checks.leaks import MARK, check_leaks
    from dashfx.data.checks.survey import survey

    found = survey(data)
    render.show(parts_table(data, found))
    if any(each.counts for each in found.parts):
        render.show(counts_table(data, found))
    for note in data.notes:
        if not note.startswith(MARK):
            render.note(note)
    check_leaks(list(found.leaks), data.name)
    for leak in found.leaks:
        render.warn(str(leak))


def parts_table(data: Data, found: Survey) -> Table:
    """A row a part."""
    numbers = ("rows", "records", "groups", "min", "max", "mean", "std", "y missing")
    shape = size_text(data.input_shape)
    made = tables.table(
        f"{data.name}: {shape}, {data.described}, {data.n_outputs} outputs", "part", *numbers, numbers=numbers
    )
    for each in found.parts:
        values = (f"{value:.4g}" for value in (each.low, each.high, each.mean, each.std))
        made.add_row(
            each.part,
            f"{each.rows:,}",
            *("" if n is None else f"{n:,}" for n in (each.records, each.groups)),
            *values,
            f"{each.missing:.1%}" if each.missing else "",
        )
    return made


def counts_table(data: Data, found: Survey) -> Table:
    """How often each class, or label, occurs in each part."""
    parts = [each.part for each in found.parts]
    made = tables.table("how often", "label" if data.kind == "multilabel" else "class", *parts, numbers=parts)
    names = data.labels or tuple(map(str, range(data.n_outputs)))
    for number, name in enumerate(names[:SHOWN]):
        made.add_row(name, *(f"{each.counts[number]:,}" for each in found.parts))
    if len(names) > SHOWN:
        rest = (f"{sum(each.counts[SHOWN:]):,}" for each in found.parts)
        made.add_row(f"{len(names) - SHOWN} more", *rest)
    return made
