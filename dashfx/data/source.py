"""Source of data: raw (x, y) of each part given, from named arrays, before layout, labels and splits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from dashfx.data.parts import PARTS, USUAL
from dashfx.data.readers.border import border, check_room
from dashfx.data.readers.records import Flat, Listed, Records
from dashfx.data.readers.rows import Rows, Values
from dashfx.errors import DataError

EXPECTED = "x and y, or x_train and y_train with optional x_valid, y_valid, x_test, y_test"

Pair = tuple[Any, np.ndarray]  # x is an array, `Rows` or `Records`


class Spectra(Protocol):
    """Rows of log-mel spectrograms, and the waves that they are of."""

    waves: Rows
    rate: int
    bands: int


@dataclass(frozen=True)
class Source:
    """What a file, folder, generator or user's code gave: at least a train part, as it came.

    Attributes:
        records: for parts whose rows were cut from records: (N,) the number of each row's record, which is never
            split and whose rows vote together.
        groups: (N,) the name or number of the patient, speaker or other group that each row is of; never split.
        labels: the names of classes 0..K-1, of labels or of numbers to regress, where the source knows names.
        channels: the names of x's channels, where the source knows them.
        orders: those of parts that came with names of their own, which may be in another order.
        kind: what y is, where the source says so.
        images: whether rows are decoded images.
        outside: what was done to files to get rows or records of numbers, in words.
        spectra: for parts whose rows are spectra: how they are made of rows of waves.
    """

    name: str
    parts: dict[str, Pair]
    notes: tuple[str, ...] = ()
    records: dict[str, np.ndarray] = field(default_factory=dict)
    groups: dict[str, np.ndarray] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    orders: dict[str, tuple[str, ...]] = field(default_factory=dict)
    kind: str | None = None
    images: bool = False
    outside: tuple[str, ...] = ()
    spectra: dict[str, Spectra] = field(default_factory=dict)

    @property
    def lead(self) -> str:
        """The part that the others are held to: train, where there is one."""
        return next(part for part in PARTS if part in self.parts)

    def where(self, array: str, part: str) -> str:
        """How a message names an array: the source, then the array and the part."""
        return f"{self.name}: {array}_{part}"


def as_array(value: Any, where: str) -> np.ndarray:
    """A tensor, array or nested list as a numpy array, without a copy where none is needed.

    Raises:
        DataError: ragged lists, objects, complex numbers or dates; sparse, quantised or empty (meta) tensors.
    """
    try:
        with border(where, "no array can be made of it", "give numbers in one shape"):
            if isinstance(value, Tensor):
                array = _of_tensor(value, where)
            else:
                array = _filled(value, where) if isinstance(value, np.ndarray) else _of_list(value, where)
    except DataError as error:
        if isinstance(error.__cause__, ValueError) and not isinstance(value, Tensor):
            raise DataError(f"{where} has rows of different lengths; pad or crop them to one shape") from None
        raise
    if array.dtype.kind not in "biufUS":
        raise DataError(f"{where} holds {array.dtype} values; give numbers (or text for class names), not objects")
    return array


def _of_list(value: Any, where: str) -> np.ndarray:
    if isinstance(value, Sequence) and not isinstance(value, str):
        check_room(sum(getattr(each, "nbytes", 0) for each in value), where)
    return np.asarray(value)


def _filled(array: np.ndarray, where: str) -> np.ndarray:
    """The array itself, unless values in it are masked out, which would be taken as if they were not.

    Raises:
        DataError: they are.
    """
    if np.ma.is_masked(array):
        raise DataError(f"{where} has {np.ma.count_masked(array)} masked values; fill them, or leave their rows out")
    return array


def _of_tensor(value: Tensor, where: str) -> np.ndarray:
    """Values as numpy has them.

    Raises:
        DataError: a tensor of another layout, without values, or of a type that numpy lacks.
    """
    if value.layout != torch.strided or value.is_nested:
        raise DataError(f"{where} is a sparse or nested tensor; save x.to_dense()")
    if value.is_quantized:
        raise DataError(f"{where} is a quantised tensor; save x.dequantize()")
    if value.is_meta:
        raise DataError(f"{where} is a tensor without values (device meta); save the values")
    with border(where, f"a tensor of {value.dtype} becomes no array", "save x.float()"):
        value = value.detach().cpu().resolve_conj().resolve_neg()
        return np.asarray((value.float() if value.dtype == torch.bfloat16 else value).numpy())


def from_mapping(arrays: Mapping[str, Any], name: str) -> Source:
    """Arrays by key; keys are matched without regard to case, `val` means `valid`, x and y alone are the train part.

    With `lengths` beside it, x is records one behind the other; a list of unequal x is records too. `groups` names the
    patient, speaker or other group that each row is of; `labels` the classes, labels or numbers to regress, and
    `channels` the channels, in their order.

    Raises:
        DataError: an x without its y or the reverse, none of either, or an array that is not numbers or text.
    """
    known: dict[str, str] = {}
    for array in ("x", "y", "lengths", "groups"):
        known |= {array: f"{array}_train"}
        known |= {f"{array}_{alias}": f"{array}_{part}" for part, aliases in USUAL.items() for alias in aliases}
    found: dict[str, str] = {}
    for key in arrays:
        means = known.get(key.lower()) if isinstance(key, str) else None
        if means is None:
            continue
        if means in found:
            raise DataError(f"{name}: {found[means]} and {key} both mean {means}; rename or merge one")
        found[means] = key
    parts: dict[str, Pair] = {}
    groups: dict[str, np.ndarray] = {}
    for part in PARTS:
        pair = _part(arrays, found, part, name)
        if pair is None:
            continue
        parts[part] = pair
        if (named_by := found.get(f"groups_{part}")) is not None:
            groups[part] = _groups(arrays[named_by], len(pair[1]), f"{name}: {named_by}", part)
    if not parts:
        raise DataError(f"{name}: no arrays to train on; expected {EXPECTED}, found {_listed(arrays)}")
    keys = {what: written for what in NAMES if (written := _key(arrays, what)) is not None}
    names = {what: _names(arrays[key], f"{name}: {key}") for what, key in keys.items()}
    used = {*found.values(), *(keys[what] for what, each in names.items() if each)}
    unused = [str(key) for key in arrays if key not in used]
    notes: tuple[str, ...] = (f"left unread: {', '.join(unused)}",) if unused else ()
    channels = names.get("channels", ())
    if len(set(channels)) < len(channels):
        channels, notes = (), (*notes, "left unread: names of channels, of which some occur twice")
    return named(Source(name, parts, notes, groups=groups, channels=channels), names.get("labels", ()))


def _groups(value: Any, n: int, where: str, part: str) -> np.ndarray:
    groups = as_array(value, where)
    if groups.shape != (n,):
        raise DataError(f"{where} has shape {groups.shape}; it is one name or number a row of y_{part}")
    if groups.dtype.kind in "US":
        return decoded(groups, where)
    whole = groups.dtype.kind == "f" and bool((np.abs(groups) < 2**53).all() and (groups == np.round(groups)).all())
    return groups.astype(np.int64) if whole else groups  # 3.0 in one part and 3 in another are one group


NAMES = ("labels", "channels")


def _key(arrays: Mapping[str, Any], name: str) -> str | None:
    return next((key for key in arrays if isinstance(key, str) and key.lower() == name), None)


def _names(value: Any, where: str) -> tuple[str, ...]:
    """Names in a list or an array of text; none where it is something else, which is then left unread."""
    array = as_array(value, where)
    text = array.ndim == 1 and array.dtype.kind in "US"
    return tuple(str(name).strip() for name in decoded(array, where).tolist()) if text else ()


def decoded(text: np.ndarray, where: str) -> np.ndarray:
    """Text or bytes as text.

    Raises:
        DataError: bytes that are not UTF-8.
    """
    with border(where, "holds bytes that are no UTF-8 text", "save names as text (str)"):
        return np.char.decode(text, "utf-8") if text.dtype.kind == "S" else text.astype(str)


def _part(arrays: Mapping[str, Any], found: Mapping[str, str], part: str, name: str) -> Pair | None:
    x, y = found.get(f"x_{part}"), found.get(f"y_{part}")
    if x is None and y is None:
        return None
    if x is None or y is None:
        raise DataError(f"{name}: {x or y} stands alone; expected {EXPECTED}, found {_listed(arrays)}")
    lengths, where = found.get(f"lengths_{part}"), f"{name}: {x}"
    values = as_values(arrays[x], where) if lengths is None else as_records(arrays[x], arrays[lengths], where)
    return values, as_array(arrays[y], f"{name}: {y}")


def as_values(value: Any, where: str) -> Values | Records:
    """An array, or records where `value` is a list of arrays of different lengths.

    Raises:
        DataError: as `as_array`, or pieces that are no series.
    """
    if not isinstance(value, (list, tuple)) or not value:
        return as_array(value, where)
    if not all(isinstance(each, np.ndarray | Tensor | Sequence) for each in value):
        return as_array(value, where)
    arrays = [as_array(each, where) for each in value]
    if any(not array.size for array in arrays) and any(array.size for array in arrays):
        empty = next(row for row, array in enumerate(arrays) if not array.size)
        raise DataError(f"{where}: row {empty} has no samples; remove it")
    if len({array.shape for array in arrays}) == 1:
        check_room(sum(array.nbytes for array in arrays), where)
        return np.stack(arrays)
    if all(array.ndim == 2 for array in arrays) and len({array.shape[0] for array in arrays}) > 1:
        arrays = [array.T for array in arrays] if len({array.shape[1] for array in arrays}) == 1 else arrays
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


def _listed(arrays: Mapping[str, Any]) -> str:
    return ", ".join(map(str, arrays)) or "nothing"


def named(source: Source, names: tuple[str, ...]) -> Source:
    """The source with the names of its classes.

    The numbers stay, which a checkpoint for this data set counts on, unless the lead part lacks one: then y is names.
    """
    numbers = {part: y for part, (_, y) in source.parts.items()}
    if not names or any(y.dtype.kind not in "iu" or not ((y >= 0) & (y < len(names))).all() for y in numbers.values()):
        return replace(source, labels=names)
    if any(y.ndim > 1 for y in numbers.values()) or len(np.unique(numbers[source.lead])) == len(names):
        return replace(source, labels=names)
    return replace(source, parts={part: (x, np.asarray(names)[y]) for part, (x, y) in source.parts.items()})


def names_of(y: np.ndarray, names: tuple[str, ...], where: str) -> np.ndarray:
    """(N,) text: the names of class numbers, which are 0..K-1, 1..K or in the names' order; text is handed back.

    Raises:
        DataError: a number without a name.
    """
    y = np.asarray(y).reshape(-1)
    if y.dtype.kind in "US":
        return decoded(y, where)
    classes = np.unique(y)
    if len(classes) == len(names):
        return np.asarray(names)[np.searchsorted(classes, y)]
    numbers = y - 1 if classes[0] >= 1 and classes[-1] == len(names) else y
    bad = np.flatnonzero((numbers < 0) | (numbers >= len(names)) | (numbers != np.round(numbers)))
    if bad.size:
        raise DataError(
            f"{where}: class number {y[bad[0]]} has no name, there are {len(names)}; relabel it, or name it"
        )
    return np.asarray(names)[numbers.astype(np.int64)]
