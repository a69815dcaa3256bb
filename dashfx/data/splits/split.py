"""Splits of a part into disjoint sets of rows, drawn by a seed, class by class where there are classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dashfx.data.base import Arrays, Kind
from dashfx.errors import DataError

TEST_FRACTION = 0.2
TEST_SEED = 0  # runs with different seeds must be judged on the same rows


def complete(
    parts: dict[str, Arrays],
    kind: Kind,
    *,
    seed: int,
    valid_fraction: float,
    labels: Sequence[str] = (),
    prints: np.ndarray | None = None,
) -> tuple[dict[str, Arrays], list[str]]:
    """The three parts, a missing test and then a missing validation carved out of train; and a note for each.

    Args:
        labels: the names of the classes.
        prints: of each row of train's x (`dashfx.data.checks.leaks.fingerprints`); rows of one print stay in one part.

    Raises:
        DataError: a fraction outside (0, 1), a train part too small to give rows away, or too few records to give each
            part some of every class.
    """
    if not 0 < valid_fraction < 1:
        raise DataError(f"valid_fraction {valid_fraction}: the share of train for validation lies between 0 and 1")
    parts, notes = dict(parts), []
    sides = ["train", *(part for part in ("valid", "test") if part not in parts)]
    if kind == "classes" and (units := parts["train"].units) is not None:
        _check_units(units, parts["train"].targets, sides, labels, _by(parts["train"]))
    for part, fraction, part_seed in (("test", TEST_FRACTION, TEST_SEED), ("valid", valid_fraction, seed)):
        if part in parts:
            notes.append(f"{part}: given, {len(parts[part])} rows")
            continue
        train = parts["train"]
        classes = train.targets if kind == "classes" else None
        if train.units is not None:
            kept, drawn = draw_units(train.units, classes, fraction, part_seed, part, labels, _by(train))
        else:
            kept, drawn = draw(classes, len(train), fraction, part_seed)
        same = 0
        if prints is not None and train.units is None:
            kept, drawn, same = together(kept, drawn, prints[train.index], classes)
        if not drawn.size:
            raise DataError(f"train has {len(train)} rows, too few to carve {part} out of it; give a {part} part")
        parts["train"], parts[part] = train.subset(kept), train.subset(drawn)
        how = f", by {_by(train)}" * (train.units is not None) + ", stratified" * (kind == "classes")
        back = f" ({same} stay in train as duplicates of its rows)" if same else ""
        notes.append(
            f"{part}: {fraction:.0%} of train{how}, seed {part_seed}: {len(drawn)} rows, train keeps {len(kept)}{back}"
        )
    return parts, notes


def _by(arrays: Arrays) -> str:
    return "record" if arrays.groups is None else "group"


def _check_units(units: np.ndarray, classes: np.ndarray, sides: Sequence[str], labels: Sequence[str], by: str) -> None:
    """Whether each class stands in a unit for every side: for train, and for the parts that are carved out of it.

    Raises:
        DataError: a class that stands in fewer.
    """
    for number in np.unique(classes):
        among = len(np.unique(units[classes == number]))
        if among < len(sides):
            raise DataError(
                f"split by {by}: class {_name(number, labels)} is in {among} of {len(np.unique(units))} {by}s, "
                f"and {', '.join(sides[:-1])} and {sides[-1]} need one each; give more {by}s of it, merge it with "
                "another, or give the parts yourself"
            )


def together(
    kept: np.ndarray, drawn: np.ndarray, prints: np.ndarray, classes: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, int]:
    """The rows with those of `drawn` moved to `kept` of which an equal row is there, and how many these are.

    A class that would lose all its drawn rows, for want of others, keeps them.
    """
    again = np.isin(prints[drawn], prints[kept])
    of = np.zeros(len(drawn), np.int64) if classes is None else classes[drawn]
    again &= ~np.isin(of, np.setdiff1d(of, of[~again]))
    return np.union1d(kept, drawn[again]), drawn[~again], int(again.sum())


def _name(number: int, labels: Sequence[str]) -> str:
    return labels[number] if number < len(labels) else str(number)


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


def draw_units(
    units: np.ndarray,
    classes: np.ndarray | None,
    fraction: float,
    seed: int,
    part: str,
    labels: Sequence[str] = (),
    by: str = "record",
) -> tuple[np.ndarray, np.ndarray]:
    """(kept, drawn) row numbers; whole records or groups are drawn, about `fraction` of those of each class.

    Each counts for the class of most of its rows.

    Raises:
        DataError: a class would be missing on one side.
    """
    _, first, of = np.unique(units, return_index=True, return_inverse=True)
    kinds = None if classes is None else _usual_class(of, classes)
    _, chosen = draw(kinds, len(first), fraction, seed)
    drawn = np.isin(of, chosen)
    for side, rows in (("train", ~drawn), (part, drawn)):
        lost = [] if classes is None else sorted(set(classes.tolist()) - set(classes[rows].tolist()))
        if lost:
            raise DataError(
                f"split by {by}: class {_name(lost[0], labels)} would be missing from {side}, as it is the lesser "
                f"one in its {by}s; give {by}s of it alone, merge it with another, or give the parts yourself"
            )
    return np.flatnonzero(~drawn), np.flatnonzero(drawn)


def _usual_class(of: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """(records,): the class that most rows of each have; of equals the lowest."""
    counts = np.zeros((int(of.max()) + 1, int(classes.max()) + 1), np.int64)
    np.add.at(counts, (of, classes), 1)
    usual: np.ndarray = counts.argmax(1)
    return usual


def limited(arrays: Arrays, limit: int, seed: int) -> Arrays:
    """At most `limit` rows, drawn by the seed."""
    if len(arrays) <= limit:
        return arrays
    return arrays.subset(np.sort(np.random.default_rng(seed).permutation(len(arrays))[:limit]))
