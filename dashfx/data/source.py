"""Named arrays go in; a `Source` comes out: raw (x, y) of each part given, before layout, labels and splits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dashfx.data.readers.records import Flat, Listed, Records
from dashfx.data.readers.rows import Values
from dashfx.errors import DataError

PARTS = ("train", "valid", "test")
EXPECTED = "x and y, or x_train and y_train with optional x_valid, y_valid, x_test, y_test"

Pair = tuple[Any, np.ndarray]  # x is an array, `Rows` or `Records`


@dataclass(frozen=True)
class Source:
    """What a file, folder, generator or user's code gave: at least a train part, as it came.

    Attributes:
        records: for parts whose rows belong together, such as windows of one recording: (N,) the name or number of
            each row's record, which is never split.
        labels: the names of classes 0..K-1, where the source knows names beside the numbers in y.
    """

    name: str
    parts: dict[str, Pair]
    notes: tuple[str, ...] = ()
    records: dict[str, np.ndarray] = field(default_factory=dict)
    labels: tuple[str, ...] = ()

    def where(self, array: str, part: str) -> str:
        """How a message names an array: the source, then the array and the part."""
        return f"{self.name}: {array}_{part}"


def as_array(value: Any, where: str) -> np.ndarray:
    """A tensor, array or nested list as a numpy array, without a copy where none is needed.

    Raises:
        DataError: ragged lists, objects, complex numbers or dates.
    """
    if isinstance(value, Tensor):
        value = value.detach().cpu()
        value = (value.float() if value.dtype == torch.bfloat16 else value).numpy()
    try:
        array = value if isinstance(value, np.ndarray) else np.asarray(value)
    except ValueError:
        raise DataError(f"{where} has rows of different lengths; pad or crop them to one shape") from None
    if array.dtype.kind not in "biufUS":
        raise DataError(f"{where} holds {array.dtype} values; give numbers (or text for class names), not objects")
    return array


def from_mapping(arrays: Mapping[str, Any], name: str) -> Source:
    """Arrays by key; keys are matched without regard to case, `val` means `valid`, x and y alone are the train part.

    With `lengths` beside it, x is records one behind the other; a list of unequal x is records too. `groups` names the
    record, patient or other group that each row is of.

    Raises:
        DataError: no train part, an x without its y or the reverse, or an array that is not numbers or text.
    """
    known: dict[str, str] = {}
    for array in ("x", "y", "lengths", "groups"):
        known |= {array: f"{array}_train", f"{array}_val": f"{array}_valid"}
        known |= {f"{array}_{part}": f"{array}_{part}" for part in PARTS}
    found = {known[key.lower()]: key for key in arrays if isinstance(key, str) and key.lower() in known}
    parts: dict[str, Pair] = {}
    records: dict[str, np.ndarray] = {}
    for part in PARTS:
        x, y = found.get(f"x_{part}"), found.get(f"y_{part}")
        if x is None and y is None:
            continue
        if x is None or y is None:
            raise DataError(f"{name}: {x or y} stands alone; expected {EXPECTED}, found {_listed(arrays)}")
        lengths, groups = (found.get(f"{array}_{part}") for array in ("lengths", "groups"))
        where = f"{name}: {x}"
        values = as_values(arrays[x], where) if lengths is None else as_records(arrays[x], arrays[lengths], where)
        parts[part] = (values, as_array(arrays[y], f"{name}: {y}"))
        if groups is not None:
            records[part] = as_array(arrays[groups], f"{name}: {groups}")
            if records[part].shape != (len(parts[part][1]),):
                raise DataError(
                    f"{name}: {groups} has shape {records[part].shape}; it is one name or number a row of {y}"
                )
    if "train" not in parts:
        raise DataError(f"{name}: no arrays to train on; expected {EXPECTED}, found {_listed(arrays)}")
    unused = [key for key in arrays if key not in found.values()]
    return Source(name, parts, (f"left unread: {', '.join(map(str, unused))}",) if unused else (), records)


def as_values(value: Any, where: str) -> Values | Records:
    """An array, or records where `value` is a list of arrays of different lengths.

    Raises:
        DataError: as `as_array`, or pieces that are no series.
    """
    if not isinstance(value, (list, tuple)) or not value:
        return as_array(value, where)
    arrays = [as_array(each, where) for each in value]
    if len({array.shape for array in arrays}) == 1:
        return np.stack(arrays)
    if not all(array.ndim in (1, 2) and array.shape[:-1] == arrays[0].shape[:-1] for array in arrays):
        raise DataError(f"{where} has rows of different shapes; give series, (L,) or (C, L), that differ in L alone")
    return Listed(arrays)


def as_records(value: Any, lengths: Any, where: str) -> Flat:
    """Records one behind the other.

    Raises:
        DataError: lengths that are no whole numbers from 1 up, or do not add up to the samples there are.
    """
    values, counts = as_array(value, where), as_array(lengths, f"{where} (lengths)")
    if values.ndim not in (1, 2) or counts.ndim != 1 or counts.dtype.kind not in "iu" or counts.size == 0:
        raise DataError(f"{where}: beside lengths (N,) of whole numbers, x is (samples,) or (samples, C)")
    if counts.min() < 1 or counts.sum() != len(values):
        raise DataError(f"{where} holds {len(values)} samples, the lengths (from 1 up) add up to {counts.sum()}")
    return Flat(values, counts)


def from_tuple(arrays: Sequence[Any], name: str) -> Source:
    """(x, y), or ((x, y), (x, y)) for train and test, or three pairs for train, validation and test.

    Raises:
        DataError: another number of arrays or pairs.
    """
    paired = all(isinstance(item, (tuple, list)) and len(item) == 2 for item in arrays)
    if len(arrays) == 2 and not (paired and hasattr(arrays[0][0], "shape")):
        return from_mapping({"x": arrays[0], "y": arrays[1]}, name)
    if not paired or len(arrays) not in (2, 3):
        raise DataError(f"{name}: give (x, y), or two or three such pairs, not {len(arrays)} items")
    order = ("train", "test") if len(arrays) == 2 else PARTS
    keyed = {
        f"{array}_{part}": value
        for part, pair in zip(order, arrays, strict=True)
        for array, value in zip("xy", pair, strict=True)
    }
    return from_mapping(keyed, name)


def join(sources: Sequence[Source]) -> Source:
    """One source from two (train, test) or three (train, validation, test) that hold one part each.

    Raises:
        DataError: more sources, or one with several parts.
    """
    name = "+".join(source.name for source in sources)
    if len(sources) not in (2, 3):
        raise DataError(f"{name}: join two files (train+test) or three (train+valid+test) with '+'")
    order = ("train", "test") if len(sources) == 2 else PARTS
    parts: dict[str, Pair] = {}
    records: dict[str, np.ndarray] = {}
    for part, source in zip(order, sources, strict=True):
        if len(source.parts) != 1:
            raise DataError(f"{source.name} already has the parts {', '.join(source.parts)}; use it alone, without '+'")
        parts[part] = next(iter(source.parts.values()))
        records.update((part, of) for of in source.records.values())
    return Source(name, parts, tuple(note for source in sources for note in source.notes), records)


def _listed(arrays: Mapping[str, Any]) -> str:
    return ", ".join(map(str, arrays)) or "nothing"
