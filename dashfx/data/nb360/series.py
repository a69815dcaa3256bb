"""The published arrays of NinaPro DB5, Satellite and DeepSEA go in; their sources come out."""

from __future__ import annotations

import numpy as np

from dashfx.data.nb360.files import Files
from dashfx.data.source import Source


def ninapro(files: Files) -> Source:
    """float (N, 1, 16, 52) windows of muscle activity and 18 gestures; three parts as published."""
    parts = {}
    for part, name in (("train", "train"), ("valid", "val"), ("test", "test")):
        x, y = files.array(f"ninapro_{name}.npy"), files.array(f"label_{name}.npy")
        if x.ndim != 3:
            (path,) = files.find(f"ninapro_{name}.npy")
            raise files.broken(path, f"its shape is {x.shape}, not (N, 52, 16)")
        parts[part] = (np.moveaxis(x, 1, 2)[:, None], y)
    return Source("ninapro", parts)


def satellite(files: Files) -> Source:
    """float (N, 1, 46) series, each of mean 0 and deviation 1, and 24 classes; validation is the end of train."""
    series, labels = {}, {}
    for part in ("train", "test"):
        x, y = files.arrays(f"satellite_{part}.npz", "data", "label")
        centred = np.asarray(x, np.float32) - x.mean(1, keepdims=True)
        std = centred.std(1, keepdims=True)
        series[part] = (centred / np.where(std > 0, std, 1))[:, None]
        labels[part] = y
    # As the benchmark does: as many rows as test has.
    held = min(len(series["test"]), len(series["train"]) // 2)
    parts = {
        "train": (series["train"][:-held], labels["train"][:-held]),
        "valid": (series["train"][-held:], labels["train"][-held:]),
        "test": (series["test"], labels["test"]),
    }
    return Source("satellite", parts, ("satellite: each series of mean 0 and deviation 1",))


def deepsea(files: Files) -> Source:
    """float (N, 4, 1000) one-hot sequences and 36 labels; three parts as published, where bases are the last axis."""
    parts = {}
    for part, name in (("train", "train"), ("valid", "val"), ("test", "test")):
        x, y = files.arrays("deepsea_filtered.npz", f"x_{name}", f"y_{name}")
        # Bytes would be read as grey images, so they are seen as signed: ones and zeros all the same.
        x = x.view(np.int8) if x.dtype in (np.uint8, np.bool_) else x
        parts[part] = (np.moveaxis(x, 1, 2), y)
    return Source("deepsea", parts)
