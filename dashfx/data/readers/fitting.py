"""Fitting of records of different lengths into rows of one shape: windows, padding or crops (`Reading`)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from dashfx.data.readers.logmel import fft_size, log_mel
from dashfx.data.readers.records import Listed, Records
from dashfx.data.readers.rows import Rows, Values, held
from dashfx.data.reading import Reading
from dashfx.data.source import Pair, Source, Spectra
from dashfx.errors import DataError

MOST_WINDOWS = 10**8
SAID = "say reading.window=N to cut windows, or reading.fit=pad, mask or crop"


class Windows(Rows):
    """Pieces of equal length, each beginning where `starts` says in the record that `of` names."""

    def __init__(self, records: Records, of: np.ndarray, starts: np.ndarray, length: int) -> None:
        super().__init__((len(of), records.channels, length), records.dtype)
        self.records, self.of, self.starts, self.slow = records, of, starts, records.slow

    def row(self, number: int, generator: torch.Generator | None) -> np.ndarray:
        start = int(self.starts[number])
        return self.records.piece(int(self.of[number]), start, start + self.shape[2])


class Fitted(Rows):
    """One row a record, padded behind with zeros or cropped to one length; with `fit` "mask", one channel more."""

    def __init__(self, records: Records, length: int, fit: str) -> None:
        super().__init__((len(records), records.channels + (fit == "mask"), length), records.dtype)
        self.records, self.fit, self.slow = records, fit, records.slow
        self.random = fit == "crop" and bool((records.lengths > length).any())

    def row(self, number: int, generator: torch.Generator | None) -> np.ndarray:
        length = self.shape[2]
        room = int(max(0, self.records.lengths[number] - length)) if self.fit == "crop" else 0
        start = room // 2 if generator is None else int(torch.randint(room + 1, (), generator=generator))
        piece = self.records.piece(number, start, min(start + length, int(self.records.lengths[number])))
        row = np.zeros(self.shape[1:], self.dtype)
        row[: len(piece), : piece.shape[1]] = piece
        if self.fit == "mask":
            row[-1, : piece.shape[1]] = 1
        return row


class LogMel(Rows):
    """Log-mel spectrograms (C, bands, frames), a frame each 10 ms, of rows of waves."""

    def __init__(self, waves: Rows, rate: int, bands: int) -> None:
        self.waves, self.rate, self.bands, self.random = waves, rate, bands, waves.random
        example = self._spectra(np.zeros(waves.shape[1:], np.float32))
        super().__init__((len(waves), *example.shape), np.float32)

    def row(self, number: int, generator: torch.Generator | None) -> np.ndarray:
        return self._spectra(self.waves.row(number, generator))

    def _spectra(self, waves: np.ndarray) -> np.ndarray:
        size = fft_size(self.rate)
        channels = (log_mel(torch.from_numpy(w), self.rate, mels=self.bands, n_fft=size) for w in waves)
        return torch.stack(list(channels)).numpy()


def as_rows(source: Source, reading: Reading) -> tuple[Source, Reading]:
    """The source with rows of one shape in place of records, and for each row the record that it is of.

    The reading comes back with the length that was chosen, so that other data can be read to the same shape.

    Raises:
        DataError: lengths that differ without a word on what to do, or options that do not fit the data.
    """
    if reading.window < 0 or reading.stride < 0 or reading.length < 0:
        raise DataError("reading: window, stride and length are numbers of samples; give them from 1 up")
    ragged = any(isinstance(x, Records) for x, _ in source.parts.values())
    if not ragged and not reading.window:
        _nothing_to_fit(source, reading)
        return source, reading
    length = _length(source, reading)
    parts: dict[str, Pair] = {}
    groups, notes, seen = dict(source.groups), list(source.notes), 0
    records: dict[str, np.ndarray] = {}
    spectra: dict[str, Spectra] = {}
    for part, (x, y) in source.parts.items():
        series = x if isinstance(x, Records) else _series(x, source.where("x", part))
        if len(series) != len(y):
            raise DataError(f"{source.where('x', part)} has {len(series)} records, y_{part} {len(y)}; they must match")
        rows, of = _cut(series, reading, length, source.where("x", part))
        if y.ndim > 1 and y.shape[1:] != (1,) and reading.window and y.shape[-1] in series.lengths:
            raise DataError(
                f"{source.where('y', part)} has an answer for each position; reading.window keeps one a record"
            )
        if part == source.lead and reading.window:
            _check_classes(y, y[of], length, source.where("y", part))
        made = _spectra(rows, series, reading)
        parts[part] = (held(made), y[of])
        spectra |= {part: made} if isinstance(made, LogMel) else {}
        records[part] = of + seen
        groups |= {part: groups[part][of]} if part in groups else {}
        seen += len(series)
        notes.append(_note(part, series, reading, length, of))
    used = replace(reading, length=length) if reading.fit else reading
    source = replace(source, parts=parts, records=records, groups=groups, notes=tuple(notes), spectra=spectra)
    return source, used


def _nothing_to_fit(source: Source, reading: Reading) -> None:
    for option in ("stride", "fit", "length", "log_mel", "rate"):
        if getattr(reading, option) and not (option == "fit" and reading.size):
            raise DataError(
                f"{source.name}: reading.{option} is for records or sounds, here rows have one shape; leave it out"
            )


def _series(x: Values, where: str) -> Records:
    if not isinstance(x, np.ndarray) or x.ndim not in (2, 3):
        raise DataError(f"{where} has shape {x.shape}; reading.window cuts series, (N, L) or (N, C, L)")
    return Listed(x)


def _length(source: Source, reading: Reading) -> int:
    """Of a row, the same in all parts."""
    if reading.stride and not reading.window:
        raise DataError("reading.stride is the distance of windows; say reading.window=N too, or leave it out")
    lengths = [x.lengths for x, _ in source.parts.values() if isinstance(x, Records)]
    if reading.window:
        if reading.fit or reading.length:
            raise DataError("reading.window and reading.fit exclude each other: cut windows, or fit whole records")
        return reading.window
    shortest, longest = (int(f([f(each) for each in lengths])) for f in (min, max))
    if reading.fit is None and shortest != longest:
        raise DataError(f"{source.name}: records of different lengths, {shortest} to {longest} samples; {SAID}")
    return reading.length or (shortest if reading.fit == "crop" else longest)


def _cut(records: Records, reading: Reading, length: int, where: str) -> tuple[Rows, np.ndarray]:
    """The rows, and the number of the record that each is of."""
    if not reading.window:
        return Fitted(records, length, reading.fit or "pad"), np.arange(len(records))
    stride = reading.stride or length
    if int(records.lengths.sum()) // stride > MOST_WINDOWS:
        raise DataError(
            f"{where}: reading.window={length} at distance {stride} gives over {MOST_WINDOWS:,} rows; raise it"
        )
    counts = np.where(records.lengths < length, 0, (records.lengths - length) // stride + 1)
    if not counts.any():
        raise DataError(
            f"{where}: the longest record has {records.lengths.max()} samples; lower reading.window={length}"
        )
    of = np.repeat(np.arange(len(records)), counts)
    starts = (np.arange(len(of)) - np.repeat(np.cumsum(counts) - counts, counts)) * stride
    return Windows(records, of, starts, length), of


def _check_classes(before: np.ndarray, after: np.ndarray, length: int, where: str) -> None:
    """Whether every class still has a record once those shorter than a window are left out.

    Raises:
        DataError: one has not.
    """
    if before.ndim > 1 or before.dtype.kind == "f":
        return
    if lost := sorted(set(before.tolist()) - set(after.tolist())):
        raise DataError(
            f"{where}: every record of class {lost[0]} is shorter than reading.window={length}; lower it, or take the "
            "class out"
        )


def _spectra(rows: Rows, records: Records, reading: Reading) -> Rows:
    if (reading.log_mel or reading.rate) and not records.rate:
        raise DataError("reading.log_mel and reading.rate are for sound files, which tell their rate; leave them out")
    return LogMel(rows, records.rate, reading.log_mel) if reading.log_mel else rows


def _note(part: str, records: Records, reading: Reading, length: int, of: np.ndarray) -> str:
    lengths = records.lengths
    span = f"{len(lengths)} records of {lengths.min()} to {lengths.max()} samples"
    if reading.window:
        short = int((lengths < length).sum())
        left = f"; {short} shorter records are left out" if short else ""
        return f"{part}: {span}, {len(of)} windows of {length} at distance {reading.stride or length}{left}"
    cut = int((lengths > length).sum()) if reading.fit != "crop" else 0
    return f"{part}: {span}, {reading.fit or 'as they are'}, {length} samples a row" + (f"; {cut} cut" if cut else "")
