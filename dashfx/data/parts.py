"""Usual names of the parts of a data set, of files, folders, splits and arrays, and the part that each means."""

from __future__ import annotations

from collections.abc import Iterable

from dashfx.errors import DataError

PARTS = ("train", "valid", "test")
USUAL = {
    "train": ("train", "training", "trn"),
    "valid": ("valid", "val", "validation", "validate", "dev", "development"),
    "test": ("test", "testing", "tst"),
}
PART_OF = {name: part for part, names in USUAL.items() for name in names}


def part_of(name: str) -> str | None:
    """The part that a name means, whatever its capitals; None where it means none.

    >>> part_of("Validation"), part_of("cat")
    ('valid', None)
    """
    return PART_OF.get(name.strip().lower())


def by_part(names: Iterable[str], where: str) -> dict[str, str]:
    """Those of `names` that mean a part, by the part.

    Raises:
        DataError: two of them mean one part.
    """
    found: dict[str, str] = {}
    for name in names:
        part = part_of(name)
        if part is None:
            continue
        if part in found:
            raise DataError(f"{where}: {found[part]!r} and {name!r} both name the part {part}; rename or merge one")
        found[part] = name
    return found
