"""Planted signals: 1-D rows whose class can only be told by taps at one kernel size and dilation.

Each signal is white noise with its class's motif added at random places: 5 taps, 7 samples apart, whose signs are the
class's code, the whole flipped at random. So every tap alone, and every window not longer than the dilation, looks the
same in all classes: only a filter of 5 taps at dilation 7 (or one that contains it) matches a code.
"""

from __future__ import annotations

import numpy as np

from dashfx.data.source import Pair, Source

KERNEL, DILATION = 5, 7
# Up to its sign, every code holds three of the four triples of neighbouring taps, so no three taps tell the classes.
CODES = np.array([[1, 1, 1, -1, 1], [1, -1, 1, 1, 1], [1, 1, -1, 1, 1], [1, -1, -1, -1, 1]], dtype=np.float32)
LENGTH = 96
SIZES = {"train": 480, "valid": 160, "test": 160}
AMPLITUDE, MOTIFS = 3.0, 2


def planted(seed: int = 0) -> Source:
    """Four classes in equal shares; another seed gives other signals of the same kind."""
    rng = np.random.default_rng(seed)
    note = f"planted: the class is a motif of kernel {KERNEL} at dilation {DILATION}, seed {seed}"
    return Source("planted", {part: _signals(size, rng) for part, size in SIZES.items()}, (note,))


def _signals(n: int, rng: np.random.Generator) -> Pair:
    y = rng.permutation(np.arange(n) % len(CODES))
    x = rng.standard_normal((n, 1, LENGTH), dtype=np.float32)
    offsets = np.arange(KERNEL) * DILATION
    for row, label in enumerate(y):
        # Without a common residue modulo the dilation, two motifs never fall on each other's taps.
        residues = rng.permutation(DILATION)[:MOTIFS]
        for residue in residues:
            places = (LENGTH - 1 - offsets[-1] - residue) // DILATION + 1
            start = residue + DILATION * rng.integers(places)
            x[row, 0, start + offsets] += AMPLITUDE * rng.choice([-1, 1]) * CODES[label]
    return x, y
