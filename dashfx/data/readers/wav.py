"""Sound files in folders by class: records that are decoded when asked for, and their labels."""

from __future__ import annotations

from math import gcd
from pathlib import Path
from typing import Any

import numpy as np
from scipy.signal import resample_poly

from dashfx.data.readers.border import border
from dashfx.data.readers.folders import labelled_files
from dashfx.data.readers.groups import grouped
from dashfx.data.readers.records import Records
from dashfx.data.reading import Reading
from dashfx.data.source import Source
from dashfx.errors import DataError

SUFFIXES = {".wav", ".flac", ".ogg"}
DAMAGED = ("not a readable sound", "remove or replace it")
FRAMES_A_BYTE = 8192  # FLAC takes 14 bytes for 65,535 samples of silence
MOST_CHANNELS = 256
FASTEST = 10**7  # samples a second
FARTHEST = 1000  # times a rate that resampling goes up
LONGEST = 10**6  # of the terms of the ratio: the filter has as many taps
ENDLESS = 0x7FFFFF00  # bytes that the header of a sound tells of that was written to a pipe
UNSEEKABLE = {"GSM610"}  # libsndfile reads it from the start alone, and says so only when it is asked to go elsewhere


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
    listing = labelled_files(folder, SUFFIXES, "sounds")
    files = listing.files
    heads = {path: _head(path) for pairs in files.values() for path, _ in pairs}
    first, (_, rate, channels) = next(iter(heads.items()))
    for path, (_, other, n) in heads.items():
        if other != rate and not reading.rate:
            raise DataError(
                f"{path} has {other} samples a second, {first} has {rate}; resample them, or say reading.rate={rate}"
            )
        if reading.rate and not _reachable(other, reading.rate):
            raise DataError(f"{path}: {other} samples a second do not go to reading.rate={reading.rate}; say another")
        if n != channels:
            raise DataError(f"{path} has {n} channels, {first} has {channels}; bring all sounds to one number")
    parts = {}
    for part, pairs in files.items():
        frames, rates = (np.array([heads[path][i] for path, _ in pairs], np.int64) for i in (0, 1))
        waves = Waves([path for path, _ in pairs], frames, rates, channels, reading.rate or rate)
        parts[part] = (waves, np.array([label for _, label in pairs]))
    note = f"sounds: {channels} channels, {reading.rate or rate} samples a second"
    outside = (f"sounds are decoded to {channels} channels at {reading.rate or rate} samples a second",)
    source = Source(folder.name, parts, (note, *listing.notes), outside=outside)
    return grouped(source, listing.paths, listing.roots, reading)


def _reachable(rate: int, wanted: int) -> bool:
    return wanted <= FARTHEST * rate and max(rate, wanted) <= LONGEST * gcd(rate, wanted)


def _head(path: Path) -> tuple[int, int, int]:
    """Frames, rate and channels."""
    soundfile = _soundfile(path)
    with border(path, *DAMAGED):
        info = soundfile.info(path)
    if info.frames < 1:
        raise DataError(f"{path}: the sound is empty; remove it")
    if path.suffix.lower() == ".wav":
        _check_whole(path)
    if info.frames > FRAMES_A_BYTE * path.stat().st_size or not 0 < info.channels <= MOST_CHANNELS:
        raise DataError(
            f"{path}: its header tells of {info.frames:,} samples of {info.channels} channels, more than its "
            f"{path.stat().st_size:,} bytes hold; the file is damaged or cut off"
        )
    if not 0 < info.samplerate <= FASTEST:
        raise DataError(f"{path}: its header tells of {info.samplerate:,} samples a second; remove or repair it")
    if info.subtype in UNSEEKABLE:
        raise DataError(
            f"{path}: {info.subtype_info or info.subtype} cannot be read from the middle; save it as 16-bit PCM"
        )
    return info.frames, info.samplerate, info.channels


def _check_whole(path: Path) -> None:
    """Whether a RIFF file is as long as it says: of one that is cut off, libsndfile reads what is there, and no word.

    Raises:
        DataError: it is shorter.
    """
    with open(path, "rb") as file:
        head = file.read(8)
    told, there = int.from_bytes(head[4:], "little") + 8, path.stat().st_size
    streamed = told >= ENDLESS  # written to a pipe, which knows no length yet
    if head[:4] == b"RIFF" and told > there + 1 and not streamed:
        raise DataError(f"{path}: its header tells of {told:,} bytes, the file has {there:,}; replace it")


def _decoded(path: Path, start: int, stop: int | None) -> np.ndarray:
    soundfile = _soundfile(path)
    with border(path, *DAMAGED):
        wave, _ = soundfile.read(path, start=start, stop=stop, dtype="float32", always_2d=True)
        if stop is not None and len(wave) != stop - start:
            raise DataError(
                f"{path}: the sound ends after sample {start + len(wave):,}, before its header says; replace it"
            )
    if not np.isfinite(wave).all():
        raise DataError(f"{path}: the sound has NaN or infinity; remove or replace it")
    return np.asarray(wave.T)


def _soundfile(path: Path) -> Any:
    try:
        import soundfile
    except ImportError:
        raise DataError(f'{path}: reading sounds needs the package soundfile; pip install "dashfx[data]"') from None
    return soundfile
