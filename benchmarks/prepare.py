"""Published files of four data sets go in; the `.npz` files that `benchmarks/results.py` reads come out.

    python -m benchmarks.prepare FOLDER

    physionet2017.npz    -> ecg.npz        records of one lead, each of mean 0 and deviation 1, with lengths
    ludb.npz             -> waves.npz      leads of 10 s at 250 Hz by patient; a class for every sample
    train.txt, test.txt  -> peptides.npz   one-hot residues, 21 labels
    darcy_*_16.pt        -> darcy16.npz    the permeable places and two coordinates; the pressure

Files are looked for in FOLDER and below it; missing ones are left out. `benchmarks/music.py` prepares music.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

from dashfx.data.sets.darcy import with_coordinates

RESIDUES = "ACDEFGHIKLMNPQRSTVWY"
LONGEST = 50  # residues of a peptide
IGNORED = -1  # the class of samples that nobody has marked

Arrays = dict[str, np.ndarray]


def main(folder: Path) -> None:
    for target, (names, make) in MAKERS.items():
        paths = [next(iter(sorted(folder.rglob(name))), None) for name in names]
        if None in paths or (folder / target).exists():
            continue
        arrays = make(*paths)
        print(target, {name: array.shape for name, array in arrays.items()}, flush=True)
        np.savez(folder / target, **arrays)


def ecg(path: Path) -> Arrays:
    """The challenge's records, stored as high and low bytes of their differences."""
    with np.load(path) as stored:
        steps = (stored["hi"].astype(np.int32) << 8) | stored["lo"]
        lengths, classes = stored["lengths"], stored["y"]
    pieces = []
    for record in np.split(steps, np.cumsum(lengths)[:-1]):
        signal = np.cumsum(record, dtype=np.int64).astype(np.float32)
        pieces.append(((signal - signal.mean()) / max(float(signal.std()), 1e-8)).astype(np.float16))
    return {"x": np.concatenate(pieces), "lengths": lengths, "y": classes}


def waves(path: Path) -> Arrays:
    """Every second sample of (200, 12, 5000) at 500 Hz; nothing counts before the first mark and after the last."""
    with np.load(path) as stored:
        x, y = stored["x"].astype(np.float32)[..., ::2], stored["y"].astype(np.int8)[..., ::2]
    marked = y > 0
    outside = ~(np.maximum.accumulate(marked, -1) & np.maximum.accumulate(marked[..., ::-1], -1)[..., ::-1])
    y[outside] = IGNORED
    x = (x - x.mean(-1, keepdims=True)) / np.maximum(x.std(-1, keepdims=True), 1e-6)
    patients = np.repeat(np.arange(x.shape[0]), x.shape[1])
    return {"x": x.reshape(-1, 1, x.shape[-1]), "y": y.reshape(-1, y.shape[-1]), "groups": patients}


def peptides(train: Path, test: Path) -> Arrays:
    """A line `>` with the labels, then a line with the sequence; letters that stand for no residue are zeros."""
    arrays = {}
    for part, path in (("train", train), ("test", test)):
        lines = path.read_text().split()
        arrays[f"y_{part}"] = np.array([[int(bit) for bit in line[1:]] for line in lines[::2]], np.int8)
        x = np.zeros((len(lines) // 2, len(RESIDUES), LONGEST), np.int8)
        for row, sequence in enumerate(lines[1::2]):
            for place, letter in enumerate(sequence[:LONGEST].upper()):
                if letter in RESIDUES:
                    x[row, RESIDUES.index(letter), place] = 1
        arrays[f"x_{part}"] = x
    return arrays


def darcy16(train: Path, test: Path) -> Arrays:
    arrays = {}
    for part, path in (("train", train), ("test", test)):
        stored = torch.load(path, weights_only=True)
        arrays[f"x_{part}"] = with_coordinates(stored["x"].numpy().astype(np.float32))
        arrays[f"y_{part}"] = stored["y"].numpy()[:, None]
    return arrays


MAKERS = {
    "ecg.npz": (("physionet2017.npz",), ecg),
    "waves.npz": (("ludb.npz",), waves),
    "peptides.npz": (("train.txt", "test.txt"), peptides),
    "darcy16.npz": (("darcy_train_16.pt", "darcy_test_16.pt"), darcy16),
}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
