"""UCR and UEA archives' `.ts` and `.tsv` files go in; series, of equal lengths or as records, and labels come out."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dashfx.data.readers.records import Listed
from dashfx.data.source import Pair, Source
from dashfx.errors import DataError

TAGS = {"train": "_TRAIN", "test": "_TEST"}


def read_ucr(path: Path) -> Source:
    """One file; of `NAME_TRAIN.ts` the train part, with the test part from `NAME_TEST.ts` where that lies beside it.

    Missing values are interpolated linearly, and held beyond the first and the last known one.

    Raises:
        DataError: not of that form.
    """
    read = {".ts": _read_ts, ".tsv": _read_tsv}[path.suffix.lower()]
    name, tag = path.stem, TAGS["train"]
    files = {"train": path}
    if name.endswith(tag):
        name = name.removesuffix(tag)
        other = path.with_name(name + TAGS["test"] + path.suffix)
        files |= {"test": other} if other.is_file() else {}
    parts: dict[str, Pair] = {}
    notes: list[str] = []
    for part, file in files.items():
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{file}: not a text file that can be read ({error})") from None
        rows, labels = read(file, text)
        missing = sum(int(np.isnan(row).sum()) for row in rows)
        filled = [_filled(row, f"{file}: series {number}") for number, row in enumerate(rows)]
        equal = len({row.shape for row in filled}) == 1
        parts[part] = (np.stack(filled) if equal else Listed(filled), np.array(labels))
        if missing:
            notes.append(f"{part}: {missing} missing values, interpolated")
    if len({isinstance(x, Listed) for x, _ in parts.values()}) > 1:  # equal in one part only
        parts = {part: (x if isinstance(x, Listed) else Listed(x), y) for part, (x, y) in parts.items()}
    as_numbers = _whole(np.concatenate([y for _, y in parts.values()]))
    parts = {part: (x, y.astype(np.float64).astype(np.int64) if as_numbers else y) for part, (x, y) in parts.items()}
    return Source(name, parts, tuple(notes))


def _read_ts(path: Path, text: str) -> tuple[list[np.ndarray], list[str]]:
    """(C, L) series and their labels; dimensions are apart by colons, the label is the last."""
    head, data, body = _split_at_data(text)
    if not data:
        raise DataError(f"{path}: no line @data; not a .ts file of the UEA archive, or cut off")
    facts = dict(line.lower().partition(" ")[::2] for line in head if line.startswith("@"))
    if facts.get("@timestamps", "false").strip() == "true":
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
    return _same_channels(rows, path), labels


def _read_tsv(path: Path, text: str) -> tuple[list[np.ndarray], list[str]]:
    """(1, L) series and their labels; the label is the first column, NaN at the end is beyond a series' end."""
    rows, labels = [], []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        label, *values = line.rstrip("\n").split("\t")
        series = _numbers(values, f"{path}: line {number}")
        known = np.flatnonzero(~np.isnan(series))
        rows.append(series[None, : known[-1] + 1 if known.size else 0])
        labels.append(label.strip())
    return _same_channels(rows, path), labels


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
        return np.array([np.nan if text.strip() in ("?", "") else float(text) for text in texts], np.float32)
    except ValueError as error:
        raise DataError(f"{where}: {error}; values are numbers, or ? where missing") from None


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
    return np.stack(channels).astype(np.float32)


def _whole(labels: np.ndarray) -> bool:
    """Whether the labels number the classes without a gap; other numbers are names like any text."""
    try:
        numbers = np.unique(labels.astype(np.float64))
    except ValueError:
        return False
    counted = numbers[0] in (0, 1) and bool((np.diff(numbers) == 1).all())
    return counted or numbers.tolist() == [-1, 1]
