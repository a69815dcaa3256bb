"""Rows of one part go in; disjoint sets of rows come out, drawn by a seed, class by class where there are classes."""

from __future__ import annotations

import numpy as np

from dashfx.data.base import Arrays, Kind
from dashfx.errors import DataError

TEST_FRACTION = 0.2
TEST_SEED = 0  # runs with different seeds must be judged on the same rows


def complete(
    parts: dict[str, Arrays], kind: Kind, *, seed: int, valid_fraction: float
) -> tuple[dict[str, Arrays], list[str]]:
    """The three parts, a missing test and then a missing validation carved out of train; and a note for each.

    Raises:
        DataError: a fraction outside (0, 1), or a train part too small to give rows away.
    """
    if not 0 < valid_fraction < 1:
        raise DataError(f"valid_fraction {valid_fraction}: the share of train for validation lies between 0 and 1")
    parts, notes = dict(parts), []
    for part, fraction, part_seed in (("test", TEST_FRACTION, TEST_SEED), ("valid", valid_fraction, seed)):
        if part in parts:
            notes.append(f"{part}: given, {len(parts[part])} rows")
            continue
        train = parts["train"]
        kept, drawn = draw(train.targets if kind == "classes" else None, len(train), fraction, part_seed)
        if not drawn.size:
            raise DataError(f"train has {len(train)} rows, too few to carve {part} out of it; give a {part} part")
        parts["train"], parts[part] = train.subset(kept), train.subset(drawn)
        how = ", stratified" if kind == "classes" else ""
        notes.append(
            f"{part}: {fraction:.0%} of train{how}, seed {part_seed}: {len(drawn)} rows, train keeps {len(kept)}"
        )
    return parts, notes


def draw(classes: np.ndarray | None, n: int, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(kept, drawn) row numbers, both ascending; about `fraction` of each class, or of all rows, is drawn.

    A class of at least two rows stands on both sides; a class of one row is kept.
    """
    rng = np.random.default_rng(seed)
    groups = [np.arange(n)] if classes is None else [np.flatnonzero(classes == c) for c in np.unique(classes)]
    drawn = np.zeros(n, dtype=bool)
    for rows in groups:
        size = min(max(round(fraction * len(rows)), 1), len(rows) - 1)
        drawn[rng.permutation(rows)[:size]] = True
    return np.flatnonzero(~drawn), np.flatnonzero(drawn)


def limited(arrays: Arrays, limit: int, seed: int) -> Arrays:
    """At most `limit` rows, drawn by the seed."""
    if len(arrays) <= limit:
        return arrays
    return arrays.subset(np.sort(np.random.default_rng(seed).permutation(len(arrays))[:limit]))
