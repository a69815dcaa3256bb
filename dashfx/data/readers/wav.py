"""A folder of sounds by class goes in; records that are decoded when asked for, and their labels, come out."""

from __future__ import annotations

from math import gcd
from pathlib import Path
from typing import Any

import numpy as np
from scipy.signal import resample_poly

from dashfx.data.readers.folders import labelled_files, roots_of
from dashfx.data.readers.records import Records
from dashfx.data.reading import Reading
from dashfx.data.source import Source
from dashfx.errors import DataError, first_line

SUFFIXES = {".wav", ".flac", ".ogg"}


class Waves(Records):
    """float32 (C, samples) of sound files, at `rate` samples a second."""

    slow = True

    def __init__(self, paths: list[Path], frames: np.ndarray, rates: np.ndarray, channels: int, rate: int) -> None:
        super().__init__(-(-frames * rate // rates), channels)  # as many as resample_poly gives
        self.paths, self.rates, self.rate = paths, rates, rate

    def piece(self, record: int, start: int, stop: int) -> np.ndarray:
        path, rate = self.paths[record], int(self.rates[record])
        if rate == self.rate:
            return _decoded(path, start, stop)
        common = gcd(rate, self.rate)
        whole = resample_poly(_decoded(path, 0, None), self.rate // common, rate // common, axis=1)
        return np.asarray(whole[:, start:stop], np.float32)


def read_waves(folder: Path, reading: Reading) -> Source:
    """`folder/class/*.wav` (also FLAC and Ogg), or `folder/train/class/*.wav` with `valid` and `test` beside `train`.

    Only headers are read here.

    Raises:
        DataError: soundfile is not there, a file is damaged, rates differ without `reading.rate`, or channels differ.
    """
    files = {part: labelled_files(root, SUFFIXES, "sounds") for part, root in roots_of(folder, "wav").items()}
    heads = {path: _head(path) for pairs in files.values() for path, _ in pairs}
    first, (_, rate, channels) = next(iter(heads.items()))
    for path, (_, other, n) in heads.items():
        if other != rate and not reading.rate:
            raise DataError(
                f"{path} has {other} samples a second, {first} has {rate}; resample them, or say reading.rate={rate}"
            )
        if n != channels:
            raise DataError(f"{path} has {n} channels, {first} has {channels}; bring all sounds to one number")
    parts = {}
    for part, pairs in files.items():
        frames, rates = (np.array([heads[path][i] for path, _ in pairs], np.int64) for i in (0, 1))
        waves = Waves([path for path, _ in pairs], frames, rates, channels, reading.rate or rate)
        parts[part] = (waves, np.array([label for _, label in pairs]))
    return Source(folder.name, parts, (f"sounds: {channels} channels, {reading.rate or rate} samples a second",))


def _head(path: Path) -> tuple[int, int, int]:
    """Frames, rate and channels."""
    soundfile = _soundfile(path)
    try:
        info = soundfile.info(path)
    except soundfile.LibsndfileError as error:
        raise _damaged(path, error) from None
    if info.frames < 1:
        raise DataError(f"{path}: the sound is empty; remove it")
    return info.frames, info.samplerate, info.channels


def _decoded(path: Path, start: int, stop: int | None) -> np.ndarray:
    soundfile = _soundfile(path)
    try:
        wave, _ = soundfile.read(path, start=start, stop=stop, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise _damaged(path, error) from None
    return np.asarray(wave.T)


def _damaged(path: Path, error: Exception) -> DataError:
    return DataError(f"{path}: not a readable sound ({first_line(error)}); remove or replace it")


def _soundfile(path: Path) -> Any:
    try:
        import soundfile
    except ImportError:
        raise DataError(f'{path}: reading sounds needs the package soundfile; pip install "dashfx[data]"') from None
    return soundfile
