"""Piano rolls as `.mat` go in; an `.npz` of padded windows, with the frame after each as its target, comes out.

    python benchmarks/music.py JSB_Chorales.mat jsb.npz
    python benchmarks/music.py Nottingham.mat nottingham.npz
    dashfx search dashfx.backbones:TCN --model-args num_classes=88 in_channels=88 head=dense --data jsb.npz \
        --task multilabel:nll --set normalise=false

The files are those of Bai, Kolter and Koltun (arXiv 1803.01271): cells `traindata`, `validdata`, `testdata` of rolls
(frames, 88). `multilabel:nll` is their loss, summed over keys and averaged over the frames of the whole set. Targets of
padding are NaN, so it counts nowhere. A roll longer than a window goes on in the next one, which begins with the last
CONTEXT frames of the one before: they are seen again, and count once.
"""

from __future__ import annotations

import sys

import numpy as np
from scipy.io import loadmat

WINDOW, CONTEXT = 384, 128  # frames; JSB's rolls fit into one window, as do 9 of 10 of Nottingham's


def main(source: str, target: str) -> None:
    cells = loadmat(source)
    arrays = {}
    for part in ("train", "valid", "test"):
        rolls = [roll for roll in cells[f"{part}data"][0] if len(roll) > 1]
        pairs = [pair for roll in rolls for pair in windows(roll)]
        x, y = (np.stack(each) for each in zip(*pairs, strict=True))
        print(f"{part}: {len(rolls)} rolls in {len(x)} windows, {int((~np.isnan(y[:, 0])).sum())} frames to predict")
        arrays |= {f"x_{part}": x, f"y_{part}": y}
    longest = max(int((~np.isnan(y[:, 0])).any(0).nonzero()[0].max()) + 1 for k, y in arrays.items() if k[0] == "y")
    np.savez_compressed(target, **{name: array[..., :longest] for name, array in arrays.items()})


def windows(roll: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """(88, WINDOW) frames and the frames after them, from (frames, 88); half precision holds 0, 1 and NaN."""
    frames = roll.T.astype(np.float16)
    pairs = []
    for start in range(0, max(1, frames.shape[1] - 1 - CONTEXT), WINDOW - CONTEXT):
        piece = frames[:, start : start + WINDOW + 1]
        x, y = np.zeros((len(frames), WINDOW), np.float16), np.full((len(frames), WINDOW), np.nan, np.float16)
        seen = CONTEXT if start else 0
        x[:, : piece.shape[1] - 1], y[:, seen : piece.shape[1] - 1] = piece[:, :-1], piece[:, seen + 1 :]
        pairs.append((x, y))
    return pairs


if __name__ == "__main__":
    main(*sys.argv[1:])
