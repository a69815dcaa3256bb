"""FSD50K's clips in chunks of a second go in; log-mel spectrograms of 96 x 101 with 200 labels come out.

Validation and test are judged chunk by chunk here, where the benchmark averages a model's answers over a clip's chunks.
"""

from __future__ import annotations

import csv
import json
import logging
import zlib
from pathlib import Path

import numpy as np
import torch

from dashfx.data.nb360.files import Files
from dashfx.data.readers.logmel import log_mel
from dashfx.data.sets.cache import cached
from dashfx.data.source import Source, from_mapping
from dashfx.errors import DataError

log = logging.getLogger(__name__)

RATE, MELS, FRAMES = 22050, 96, 101
LISTS = {"train": "tr.csv", "valid": "val.csv", "test": "eval.csv"}
VERSION = 1


def fsd50k(files: Files) -> Source:
    """float16 (N, 1, 96, 101), each chunk of mean 0; computed once and then read from the user's cache.

    Raises:
        DataError: soundfile is not installed, or a clip is missing or has another rate.
    """
    *lists, numbers = files.find(*LISTS.values(), "lbl_map.json")
    with files.reading(numbers, "no numbers of labels"):
        labels = json.loads(numbers.read_text(encoding="utf-8"))
    rows = {part: _rows(files, path) for part, path in zip(LISTS, lists, strict=True)}
    clips = {path.name: path for path in sorted(files.folder.rglob("*.wav"))}
    shapes = {f"x_{part}": ((len(each), 1, MELS, FRAMES), "f2") for part, each in rows.items()}

    def fill(arrays: dict[str, np.ndarray]) -> None:
        for part, each in rows.items():
            for row, (name, _) in enumerate(each):
                arrays[f"x_{part}"][row, 0] = _spectrogram(files, clips.get(Path(name).name), name)
                if row % 5000 == 0:
                    log.info("fsd50k: %s, %d of %d chunks", part, row, len(each))

    digest = zlib.crc32("".join(path.read_text(encoding="utf-8") for path in lists).encode())
    arrays = cached(f"fsd50k-v{VERSION}-{digest:08x}", shapes, fill)
    known = {f"y_{part}": _labels(files, lists[0], each, labels) for part, each in rows.items()}
    return Source("fsd50k", from_mapping(arrays | known, "fsd50k").parts, ("fsd50k: log-mel, a row is a second",))


def _rows(files: Files, path: Path) -> list[tuple[str, str]]:
    with files.reading(path, "no table"), open(path, newline="", encoding="utf-8") as file:
        rows = [(row.get("files"), row.get("labels")) for row in csv.DictReader(file)]
    named = [(name, labels) for name, labels in rows if name and labels]
    if len(named) != len(rows) or not rows:
        raise files.broken(path, "a line lacks its 'files' or 'labels'")
    return named


def _labels(files: Files, path: Path, rows: list[tuple[str, str]], numbers: dict[str, int]) -> np.ndarray:
    y = np.zeros((len(rows), len(numbers)), np.uint8)
    for row, (_, names) in enumerate(rows):
        for name in names.split(","):
            if name not in numbers:
                raise files.broken(path, f"label {name!r} is not in lbl_map.json")
            y[row, numbers[name]] = 1
    return y


def _spectrogram(files: Files, path: Path | None, name: str) -> np.ndarray:
    try:
        import soundfile
    except ImportError:
        raise DataError('fsd50k: reading its clips needs the package soundfile; pip install "dashfx[data]"') from None
    if path is None:
        raise DataError(f"fsd50k: no clip {Path(name).name} in {files.place}; unpack audio.zip there")
    with files.reading(path, "no sound"):
        wave, rate = soundfile.read(path, dtype="float32", always_2d=True)
    if rate != RATE:
        raise files.broken(path, f"{rate} samples a second, not {RATE}")
    decibels = log_mel(torch.from_numpy(wave.mean(1)), rate, mels=MELS).numpy()[:, :FRAMES]
    return np.pad(decibels - decibels.mean(), ((0, 0), (0, FRAMES - decibels.shape[1])))
