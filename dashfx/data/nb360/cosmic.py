"""deepCR's images of galaxies by the Hubble telescope go in; pixels to be told from cosmic rays come out.

A file holds an image, the mask of cosmic rays, and the pixels to ignore, (3, 256, 256); the benchmark takes the middle
128 x 128 of those that show resolved galaxies.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dashfx.data.nb360.files import Files
from dashfx.data.readers.npz import read_npy_file
from dashfx.data.source import Pair, Source

WINDOW = slice(64, 192)
# Visits of the proposals whose fields show galaxies; others of deepCR are star clusters and empty fields.
GALAXIES = {
    "9490": {"a2", "a3"},
    "10182": {"pb", "pd"},
    "10190": {"13", "28"},
    "10260": {"5", "7"},
    "10342": {"3"},
    "10407": {"3"},
    "10584": {"13"},
    "10760": {"2", "4"},
    "12058": {"1", "6", "12", "16"},
    "12513": {"2", "3"},
    "13057": {"1"},
    "13364": {"95"},
    "13691": {"11"},
    "13737": {"2", "3"},
    "13804": {"6"},
    "14343": {"1"},
    "14704": {"1"},
}


def cosmic(files: Files) -> Source:
    """float (N, 1, 128, 128); y of that shape is 1 where a cosmic ray is, NaN where a pixel is to be ignored."""
    train, test = files.find("npy_train", "npy_test")
    return Source("cosmic", {"train": _read(files, train), "test": _read(files, test)})


def _read(files: Files, root: Path) -> Pair:
    paths = [
        path
        for path in sorted(root.glob("f435w/*/*/*.npy"))
        if path.name != "sky.npy" and path.parts[-2] in GALAXIES.get(path.parts[-3], ())
    ]
    if not paths:
        raise files.broken(root, "no f435w/PROPOSAL/VISIT/*.npy of a field of galaxies in it")
    x = np.empty((len(paths), 1, 128, 128), np.float32)
    y = np.empty_like(x)
    for row, path in enumerate(paths):
        with files.reading(path, "not an image, a mask and an ignore mask of 256x256"):
            planes = read_npy_file(path)[:, WINDOW, WINDOW].astype(np.float32)
            x[row, 0], y[row, 0] = planes[0], planes[1]
        if len(planes) > 2:
            y[row, 0][planes[2] > 0] = np.nan
    return x, y
