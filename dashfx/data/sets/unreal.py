"""Unreal data: a set whose inputs or labels tell nothing, to search on before the choice is trained on the real one.

Dong et al., "UnrealNAS: Can We Search Neural Architectures with Unreal Data?", 2022. What a search makes of
it says how much it looked at the data.
"""

from __future__ import annotations

import zlib
from dataclasses import replace

import numpy as np

from dashfx.data.source import Pair, Source
from dashfx.errors import DataError, did_you_mean
from dashfx.plugins import published

KINDS = ("labels", "noise", "both")


@published("Dong et al., UnrealNAS: Can We Search Neural Architectures with Unreal Data?, 2022", "21")
def unreal(source: Source, kind: str, seed: int = 0) -> Source:
    """The set with the train and validation part made unreal; a test part that it has stays as it is.

    What is split off the train part later is unreal too.

    Args:
        kind: `labels` deals the labels of a part out anew; `noise` has normal noise of each part's mean and deviation
            for inputs; `both` does both. Shapes, types and how often each label stands in a part stay.

    Raises:
        DataError: no such kind, or rows that are read only when they are needed.
    """
    if kind not in KINDS:
        raise DataError(f"unreal:{kind}{did_you_mean(kind, KINDS)}: there are {', '.join(KINDS)}")
    made = {part: pair if part == "test" else _unreal(pair, kind, seed, part) for part, pair in source.parts.items()}
    note = f"unreal: {kind} of train and validation tell nothing, seed {seed}"
    return replace(source, name=f"unreal-{kind}-{source.name}", parts=made, notes=(*source.notes, note))


def _unreal(pair: Pair, kind: str, seed: int, part: str) -> Pair:
    x, y = pair
    if not isinstance(x, np.ndarray) or not isinstance(y, np.ndarray):
        raise DataError("unreal data are made of arrays, and these rows are read when they are needed")
    rng = np.random.default_rng((seed, zlib.crc32(part.encode())))
    if kind in ("labels", "both"):
        y = rng.permutation(y)
    if kind in ("noise", "both"):
        if not np.issubdtype(x.dtype, np.floating):
            raise DataError("unreal:noise has normal noise for inputs, and these are whole numbers; take labels")
        x = rng.normal(x.mean(), x.std() or 1.0, x.shape).astype(x.dtype)
    return x, y
