"""The binary version of CIFAR-100 goes in; its images and fine labels come out."""

from __future__ import annotations

import numpy as np

from dashfx.data.nb360.files import Files
from dashfx.data.source import Pair, Source

ROW = 2 + 3 * 32 * 32  # a byte of the coarse label, one of the fine label, then red, green and blue


def cifar100(files: Files) -> Source:
    """uint8 (N, 3, 32, 32) and 100 classes; train and test as published."""
    return Source("cifar100", read(files))


def read(files: Files) -> dict[str, Pair]:
    """Both parts, memory-mapped.

    Raises:
        DataError: a file whose size is no whole number of rows.
    """
    parts = {}
    for part, path in zip(("train", "test"), files.find("train.bin", "test.bin"), strict=True):
        if path.stat().st_size % ROW or not path.stat().st_size:
            raise files.broken(path, f"its size is no multiple of {ROW} bytes")
        rows = np.memmap(path, np.uint8, mode="r").reshape(-1, ROW)
        parts[part] = (rows[:, 2:].reshape(-1, 3, 32, 32), np.asarray(rows[:, 1]))
    return parts
