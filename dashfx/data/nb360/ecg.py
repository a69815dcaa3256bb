"""PhysioNet's ECG challenge of 2017 goes in; windows of 1000 samples come out, split by record.

Every record is brought to mean 0 and deviation 1 and cut into windows whose distance depends on its class, as the
benchmark does against the classes' unequal shares: 500 samples for normal rhythm, 83 for atrial fibrillation, 250 for
another rhythm, 25 for noise. Records, not windows, are drawn into the parts: 80, 10 and 10 % of each class, by seed 0.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from dashfx.data.nb360.files import Files
from dashfx.data.source import Pair, Source
from dashfx.data.splits.split import draw

WINDOW = 1000
STRIDES = {"N": 500, "A": 83, "O": 250, "~": 25}
SHARE = 0.1
SEED = 0


def ecg(files: Files) -> Source:
    """float (N, 1, 1000) and 4 classes: N, A, O and ~ in this order."""
    (reference,) = files.find("REFERENCE.csv")
    names, classes = _reference(files, reference)
    rest, test = draw(classes, len(classes), SHARE, SEED)
    kept, valid = draw(classes[rest], len(rest), SHARE / (1 - SHARE), SEED)
    records = {"train": rest[kept], "valid": rest[valid], "test": test}
    parts = {
        part: windows([_record(files, reference, names[row]) for row in rows], classes[rows])
        for part, rows in records.items()
    }
    counts = ", ".join(f"{part} {len(rows)}" for part, rows in records.items())
    return Source("ecg", parts, (f"ecg: split by record ({counts}), windows of {WINDOW} at distances {STRIDES}",))


def windows(records: list[np.ndarray], classes: np.ndarray) -> Pair:
    """(N, 1, WINDOW) float32 and (N,) class numbers; records shorter than a window are left out."""
    strides, pieces, labels = list(STRIDES.values()), [], []
    for record, label in zip(records, classes, strict=True):
        signal = record.astype(np.float32)
        signal = (signal - signal.mean()) / (float(signal.std()) or 1.0)
        starts = np.arange(0, len(signal) - WINDOW + 1, strides[label])
        pieces.append(signal[starts[:, None] + np.arange(WINDOW)])
        labels.append(np.full(len(starts), label))
    return np.concatenate(pieces)[:, None], np.concatenate(labels)


def _reference(files: Files, path: Path) -> tuple[list[str], np.ndarray]:
    with files.reading(path, "no table"), open(path, newline="", encoding="utf-8") as file:
        rows = [row for row in csv.reader(file) if row]
    kinds = list(STRIDES)
    if not rows or any(len(row) < 2 or row[1] not in kinds for row in rows):
        raise files.broken(path, f"a line is not a record's name and one of {', '.join(kinds)}")
    return [row[0] for row in rows], np.array([kinds.index(row[1]) for row in rows])


def _record(files: Files, reference: Path, name: str) -> np.ndarray:
    path = reference.with_name(f"{name}.mat")
    if not path.is_file():
        files.find(f"{name}.mat")  # says what is missing
    return files.matlab(path, "val")[0].ravel()
