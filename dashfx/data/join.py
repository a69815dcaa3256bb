"""Sources of one part each go in; one source of two or three parts comes out, classes and channels matched by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from dashfx.data.parts import PARTS
from dashfx.data.source import Pair, Source, names_of
from dashfx.errors import DataError


def join(sources: Sequence[Source]) -> Source:
    """One source from two (train, test) or three (train, validation, test) that hold one part each.

    Raises:
        DataError: more sources, one with several parts, or names that do not go together.
    """
    name = "+".join(source.name for source in sources)
    if len(sources) not in (2, 3):
        raise DataError(f"{name}: join two files (train+test) or three (train+valid+test) with '+'")
    order = ("train", "test") if len(sources) == 2 else PARTS
    parts: dict[str, Pair] = {}
    groups: dict[str, np.ndarray] = {}
    for part, source in zip(order, sources, strict=True):
        if len(source.parts) != 1:
            raise DataError(f"{source.name} already has the parts {', '.join(source.parts)}; use it alone, without '+'")
        parts[part] = next(iter(source.parts.values()))
        groups.update((part, of) for of in source.groups.values())
    notes = tuple(note for source in sources for note in source.notes)
    orders = {part: each.channels for part, each in zip(order, sources, strict=True) if each.channels}
    joined = replace(sources[0], name=name, parts=parts, notes=notes, records={}, groups=groups, orders=orders)
    return _by_name(joined, {part: each.labels for part, each in zip(order, sources, strict=True)})


def _by_name(joined: Source, labels: dict[str, tuple[str, ...]]) -> Source:
    """The source with names in place of class numbers where its parts do not number classes alike.

    Raises:
        DataError: columns of y that are named in another order.
    """
    texts = {y.dtype.kind in "US" for _, y in joined.parts.values()}
    if len(texts) == 1 and len({names for names in labels.values() if names}) < 2:
        return joined
    parts = {}
    for part, (x, y) in joined.parts.items():
        if y.ndim > 1 and y.shape[1:] != (1,):
            raise DataError(
                f"{joined.where('y', part)}: {', '.join(labels[part])} are named here, {', '.join(joined.labels)} in "
                f"{joined.lead}; give their columns in one order"
            )
        parts[part] = (x, names_of(y, labels[part], joined.where("y", part)) if labels[part] else y)
    return replace(joined, parts=parts)
