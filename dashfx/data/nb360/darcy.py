"""The Fourier Neural Operator's published Darcy files go in; fields and pressures at 85 x 85 come out."""

from __future__ import annotations

import numpy as np

from dashfx.data.nb360.files import Files
from dashfx.data.sets.darcy import SCALE, with_coordinates
from dashfx.data.source import Pair, Source

EVERY = 5
TRAIN, VALID, TEST = 900, 100, 100


def darcy(files: Files) -> Source:
    """As the generated set: x (N, 3, 85, 85), y (N, 1, 85, 85) = 100 u; 900, 100 and 100 rows of the two files."""
    x, y = _rows(files, "piececonst_r421_N1024_smooth1.mat", TRAIN + VALID)
    kept = min(TRAIN, max(1, len(x) - VALID))
    test = _rows(files, "piececonst_r421_N1024_smooth2.mat", TEST)
    return Source("darcy", {"train": (x[:kept], y[:kept]), "valid": (x[kept:], y[kept:]), "test": test})


def _rows(files: Files, name: str, n: int) -> Pair:
    (path,) = files.find(name)
    coefficient, solution = (fields[:n, ::EVERY, ::EVERY] for fields in files.matlab(path, "coeff", "sol"))
    return with_coordinates(coefficient), (SCALE * solution[:, None]).astype(np.float32)
