"""Time series of the UCR and UEA archives (`.ts`, `.tsv`), of equal lengths or as records, with their labels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dashfx.data.readers.border import border
from dashfx.data.readers.records import Listed
from dashfx.data.source import Pair, Source
from dashfx.errors import DataError, first_line

EXACT = 1e4  # larger values keep float64, or float32 would lose what varies beside a large offset
TAGS = {"train": "_train", "test": "_test"}
MISSING = ("?", "", "nan")


@dataclass(frozen=True)
class Table:
    """The series of one file, (C, L) each, and what stands as their labels.

    Attributes:
        lines: the number of each series' line in the file.
        numbers: whether the file says that the labels are numbers to regress.
    """

    rows: list[np.ndarray]
    labels: list[str]
    lines: list[int]
    numbers: bool = False
    notes: tuple[str, ...] = ()


def read_ucr(path: Path) -> Source:
    """One file; of `NAME_TRAIN.ts` the train part, with the test part from `NAME_TEST.ts` where that lies beside it.

    Missing values are interpolated linearly, and held beyond the first and the last known one. Where the file says
    @targetLabel true, its labels are numbers to regress.

    Raises:
        DataError: not of that form.
    """
    read = {".ts": _read_ts, ".tsv": _read_tsv}[path.suffix.lower()]
    name, files = _files(path)
    parts: dict[str, Pair] = {}
    notes: list[str] = []
    tables = {}
    for part, file in files.items():
        with border(file, "not a text file that can be read", "give UTF-8 text of the UCR or UEA archive"):
            text = file.read_text(encoding="utf-8-sig")
        tables[part] = table = read(file, text)
        missing = sum(int(np.isnan(row).sum()) for row in table.rows)
        filled = [_filled(row, f"{file}: series {number}") for number, row in enumerate(table.rows)]
        equal = len({row.shape for row in filled}) == 1
        parts[part] = (np.stack(filled) if equal else Listed(filled), _labels(table, file))
        notes += table.notes
        if missing:
            notes.append(f"{part}: {missing} missing values, interpolated")
    if len({isinstance(x, Listed) for x, _ in parts.values()}) > 1:  # equal in one part only
        parts = {part: (x if isinstance(x, Listed) else Listed(x), y) for part, (x, y) in parts.items()}
    if len({table.numbers for table in tables.values()}) > 1:
        raise DataError(
            f"{path}: @targetLabel stands in one of {', '.join(map(str, files.values()))} alone; in both or none"
        )
    if tables[next(iter(tables))].numbers:
        return Source(name, parts, (*notes, "labels: numbers to regress (@targetLabel true)"), kind="dense")
    as_numbers = _whole(np.concatenate([y for _, y in parts.values()]))
    parts = {part: (x, y.astype(np.float64).astype(np.int64) if as_numbers else y) for part, (x, y) in parts.items()}
    return Source(name, parts, tuple(notes))


def _files(path: Path) -> tuple[str, dict[str, Path]]:
    """The data's name, and the file of each part; a part's tag counts whatever its capitals."""
    for part, tag in TAGS.items():
        if not path.stem.lower().endswith(tag):
            continue
        name = path.stem[: -len(tag)]
        if part == "test":
            return name, {"test": path}
        beside = (other for other in sorted(path.parent.iterdir()) if other.suffix == path.suffix)
        tests = [other for other in beside if other.stem.lower() == name.lower() + TAGS["test"]]
        return name, {"train": path, **({"test": tests[0]} if tests else {})}
    return path.stem, {"train": path}


def _labels(table: Table, path: Path) -> np.ndarray:
    """(N,) text, or numbers to regress.

    Raises:
        DataError: a label that is missing, or no number where the file promises numbers.
    """
    for number, label in zip(table.lines, table.labels, strict=True):
        if label.lower() in MISSING:
            raise DataError(f"{path}: line {number} has no label ({label!r}); remove the line or fill it in")
    if not table.numbers:
        return np.array(table.labels)
    return np.stack([_numbers([t], f"{path}: line {n}") for n, t in zip(table.lines, table.labels, strict=True)])[:, 0]


def _read_ts(path: Path, text: str) -> Table:
    """Dimensions are apart by colons, the label is the last."""
    head, data, body = _split_at_data(text)
    if not data:
        raise DataError(f"{path}: no line @data; not a .ts file of the UEA archive, or cut off")
    facts = {tag: value for tag, value, *_ in (f"{line.lower()} -".split() for line in head if line.startswith("@"))}
    if facts.get("@timestamps") == "true":
        raise DataError(f"{path}: series with time stamps are not read; give values at even distances")
    rows, labels = [], []
    for number, line in body:
        *dimensions, label = line.split(":")
        where = f"{path}: line {number}"
        if not dimensions:
            raise DataError(f"{where} has no label; a line is values:label, with a colon between dimensions")
        channels = [_numbers(dimension.split(","), where) for dimension in dimensions]
        length = max(map(len, channels))
        # Within a case, a shorter dimension is one whose end is missing.
        rows.append(np.stack([np.pad(c, (0, length - len(c)), constant_values=np.nan) for c in channels]))
        labels.append(label.strip())
    numbers = facts.get("@targetlabel") == "true"
    return Table(_same_channels(rows, path), labels, [number for number, _ in body], numbers)


def _read_tsv(path: Path, text: str) -> Table:
    """(1, L) series; the label is the first column, NaN at the end is beyond a series' end."""
    lines = [(number, line.split("\t")) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    notes: tuple[str, ...] = ()
    if _is_heading([line for _, line in lines]):
        notes = (f"{path.name}: line {lines[0][0]} is a heading and is left out",)
        del lines[0]
    rows, labels = [], []
    for number, (label, *values) in lines:
        series = _numbers(values, f"{path}: line {number}")
        known = np.flatnonzero(~np.isnan(series))
        rows.append(series[None, : known[-1] + 1 if known.size else 0])
        labels.append(label.strip())
    return Table(_same_channels(rows, path), labels, [number for number, _ in lines], notes=notes)


def _is_heading(lines: list[list[str]]) -> bool:
    """Whether the first line names columns: its label alone is no number, or comes once, before names or counting."""
    labels = [label for label, *_ in lines]
    if len(labels) < 2 or _is_number(labels[0]):
        return False
    values = [value.strip().strip('"') for value in lines[0][1:]]
    counting = any(values == [str(number + start) for number in range(len(values))] for start in (0, 1))
    names = counting or not any(value.lower() in MISSING or _is_number(value) for value in values)
    return all(map(_is_number, labels[1:])) or (bool(values) and names and labels[0] not in labels[1:])


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _split_at_data(text: str) -> tuple[list[str], bool, list[tuple[int, str]]]:
    """The lines before @data, whether there is one, and the numbered lines behind it."""
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1)]
    kept = [(number, line) for number, line in lines if line and not line.startswith("#")]
    at = next((i for i, (_, line) in enumerate(kept) if line.lower() == "@data"), None)
    if at is None:
        return [], False, []
    return [line for _, line in kept[:at]], True, kept[at + 1 :]


def _numbers(texts: list[str], where: str) -> np.ndarray:
    try:
        values = np.array([np.nan if text.strip().lower() in MISSING else float(text) for text in texts], np.float64)
    except ValueError as error:
        raise DataError(f"{where}: {first_line(error, 80)}; values are numbers, or ? where missing") from None
    if (np.abs(values) > np.finfo(np.float32).max).any():
        raise DataError(
            f"{where}: {values[np.abs(values).argmax()]} is beyond what float32 holds; remove or rescale it"
        )
    return values if np.abs(values).max(initial=0) > EXACT else values.astype(np.float32)


def _same_channels(rows: list[np.ndarray], path: Path) -> list[np.ndarray]:
    if not rows:
        raise DataError(f"{path}: no series in it")
    for number, row in enumerate(rows):
        if len(row) != len(rows[0]):
            raise DataError(f"{path}: series {number} has {len(row)} dimensions, series 0 has {len(rows[0])}")
    return rows


def _filled(row: np.ndarray, where: str) -> np.ndarray:
    missing = np.isnan(row)
    if not missing.any() and row.size:
        return row
    if row.size == 0 or missing.all(1).any():
        raise DataError(f"{where} has no values in one of its dimensions; remove it")
    places = np.arange(row.shape[1])
    channels = [np.interp(places, places[~gaps], values[~gaps]) for values, gaps in zip(row, missing, strict=True)]
    return np.stack(channels).astype(row.dtype)


def _whole(labels: np.ndarray) -> bool:
    """Whether the labels number the classes without a gap; other numbers are names like any text."""
    try:
        numbers = np.unique(labels.astype(np.float64))
    except ValueError:
        return False
    counted = numbers[0] in (0, 1) and bool((np.diff(numbers) == 1).all())
    return counted or numbers.tolist() == [-1, 1]
