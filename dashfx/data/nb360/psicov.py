"""PDNet's features and distances of proteins go in; windows of 128 x 128 residue pairs with 57 features come out.

A protein longer than 128 residues gives the window in its middle, a shorter one is padded; distances past its end are
NaN, those above 16 are 16, as the benchmark trains on. DeepCov's proteins are train and validation (the last 100),
those of PSICOV the test part, which the benchmark judges whole.
"""

from __future__ import annotations

import logging
import zlib
from pathlib import Path

import numpy as np

from dashfx.data.nb360.files import Files
from dashfx.data.readers.npz import read_npz
from dashfx.data.sets.cache import cached
from dashfx.data.source import Source, from_mapping
from dashfx.errors import DataError

log = logging.getLogger(__name__)

SIZE, CHANNELS, FARTHEST, VALID = 128, 57, 16.0, 100
PER_RESIDUE = {
    "ss": 3,
    "pssm": 22,
    "sa": 1,
    "entropy": 1,
}  # each gives a channel for the row's and the column's residue
PER_PAIR = ("ccmpred", "freecon", "potential")
VERSION = 1


def psicov(files: Files) -> Source:
    """float16 (N, 57, 128, 128) and distances (N, 1, 128, 128); written once and then read from the user's cache."""
    lists = files.find("deepcov.lst", "psicov.lst")
    with files.reading(lists[0].parent, "no lists of proteins"):
        train, test = ([line.split()[0] for line in path.read_text().splitlines() if line.strip()] for path in lists)
    held = min(VALID, len(train) // 2)
    parts = {"train": train[:-held], "valid": train[-held:], "test": test}
    root, digest = lists[0].parent, zlib.crc32(repr(parts).encode())
    shapes = {f"x_{part}": ((len(names), CHANNELS, SIZE, SIZE), "f2") for part, names in parts.items()}
    shapes |= {f"y_{part}": ((len(names), 1, SIZE, SIZE), "f2") for part, names in parts.items()}

    def fill(arrays: dict[str, np.ndarray]) -> None:
        for part, names in parts.items():
            for row, name in enumerate(names):
                x, y = protein(files, root / ("psicov" if part == "test" else "deepcov"), name)
                arrays[f"x_{part}"][row], arrays[f"y_{part}"][row, 0] = x, y
            log.info("psicov: %s, %d proteins", part, len(names))

    arrays = cached(f"psicov-v{VERSION}-{digest:08x}", shapes, fill)
    return Source("psicov", from_mapping(arrays, "psicov").parts, ("psicov: windows of 128x128 residue pairs",))


def protein(files: Files, folder: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """(57, 128, 128) features and (128, 128) distances of the window.

    Raises:
        DataError: a file that is missing or of another shape.
    """
    features, distances = folder / "features" / f"{name}.npz", folder / "distance" / f"{name}-cb.npz"
    for path in (features, distances):
        if not path.is_file():
            raise DataError(f"no file {path}; convert protein.zip as docs/reference/nas-bench-360.md says")
    held, cb = read_npz(features), read_npz(distances).get("cb")
    if cb is None or cb.ndim != 2 or set(PER_RESIDUE) - set(held) or set(PER_PAIR) - set(held):
        raise files.broken(features, "its arrays are not those of PDNet, or its distances are no map 'cb'")
    length = len(cb)
    start, n = max(0, (length - SIZE) // 2), min(length, SIZE)
    window = slice(start, start + n)
    x, y = np.zeros((CHANNELS, SIZE, SIZE), np.float32), np.full((SIZE, SIZE), np.nan, np.float32)
    with files.reading(features, "arrays of other shapes"):
        x[:, :n, :n] = _channels(held, length)[:, window, window]
    y[:n, :n] = np.clip(cb[window, window], 1.0, FARTHEST)
    return x, y


def _channels(held: dict[str, np.ndarray], length: int) -> np.ndarray:
    """(57, L, L), in the order of the tables above."""
    planes = []
    for name, n in PER_RESIDUE.items():
        values = np.asarray(held[name], np.float32)
        for each in values.T if values.shape == (length, n) and n > 1 else values.reshape(n, length):
            planes += [np.broadcast_to(each, (length, length)), np.broadcast_to(each[:, None], (length, length))]
    return np.stack(planes + [np.asarray(held[name], np.float32) for name in PER_PAIR])
