"""Raw y of every part goes in; class numbers, label rows or numbers to regress come out, with the classes' names.

Unless the kind is given, y decides it:

1. (N,) or (N, 1) of whole numbers, bools or text: classes. Whole numbers are 0..K-1, 1..K, or -1 and 1.
2. (N, L) of zeros and ones: classes if every row has exactly one 1 (one-hot), otherwise several labels a row.
3. Other floats: numbers to regress, (N, L) or (N, C, *size). A y of x's size without a channel axis gets one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dashfx.data.base import Kind
from dashfx.data.source import Source
from dashfx.errors import DataError, did_you_mean

KINDS: tuple[Kind, ...] = ("classes", "multilabel", "dense")


@dataclass(frozen=True)
class Targets:
    """y of every part, ready for `Arrays`, and what it means."""

    kind: Kind
    y: dict[str, np.ndarray]
    labels: tuple[str, ...]
    n_outputs: int
    note: str


def read_targets(source: Source, kind: str | None, size: tuple[int, ...]) -> Targets:
    """The targets of `source` as `kind`, or as the rules say; `size` is x's (*size).

    Raises:
        DataError: an unknown kind, y that does not fit its kind, labels out of range, parts that do not agree.
    """
    if kind is None:
        kind = guess_kind(source.parts["train"][1], source.where("y", "train"))
    if kind not in READERS:
        raise DataError(f"no kind of data {kind!r}{did_you_mean(kind, KINDS)}; there are {', '.join(KINDS)}")
    return READERS[kind](source, size)


def guess_kind(y: np.ndarray, where: str) -> Kind:
    """What y holds, by the rules above.

    Raises:
        DataError: whole numbers for every position, which could be classes or quantities.
    """
    if y.ndim == 1 or y.shape[1:] == (1,):
        return "classes" if y.dtype.kind in "US" or _whole(y) else "dense"
    if y.ndim == 2 and _zero_one(y):
        return "classes" if _one_hot(y) else "multilabel"
    if y.dtype.kind != "f":
        raise DataError(
            f"{where} has shape {y.shape} of {y.dtype}: classes for every position are not supported; "
            "for quantities to regress give floats"
        )
    return "dense"


def read_classes(source: Source, size: tuple[int, ...]) -> Targets:
    raw = {part: _flat_labels(y, source.where("y", part)) for part, (_, y) in source.parts.items()}
    classes = np.unique(raw["train"])
    _check_classes(source, raw, classes)
    # Every label is in `classes`, which is sorted, so its place there is its number.
    y = {part: np.searchsorted(classes, labels).astype(np.int64) for part, labels in raw.items()}
    names = tuple(str(name) for name in classes.tolist())
    return Targets("classes", y, names, len(names), f"labels: {len(names)} classes, {names[0]} .. {names[-1]}")


def read_multilabel(source: Source, size: tuple[int, ...]) -> Targets:
    y = {part: pair[1] for part, pair in source.parts.items()}
    for part, rows in y.items():
        if rows.ndim != 2 or not _zero_one(rows):
            raise DataError(f"{source.where('y', part)} {_brief(rows)}: several labels a row are (N, L) zeros and ones")
    n = _same_rows(source, y)[0]
    return Targets("multilabel", y, (), n, f"labels: {n} a row, each 0 or 1")


def read_dense(source: Source, size: tuple[int, ...]) -> Targets:
    for part, (_, rows) in source.parts.items():
        if rows.dtype.kind in "US":
            raise DataError(f"{source.where('y', part)} holds text; targets to regress must be numbers")
    y = {part: _with_channels(pair[1], size) for part, pair in source.parts.items()}
    shape = _same_rows(source, y)
    return Targets("dense", y, (), shape[0], f"targets: numbers, {'x'.join(map(str, shape))} a row")


READERS: dict[str, Callable[[Source, tuple[int, ...]], Targets]] = {
    "classes": read_classes,
    "multilabel": read_multilabel,
    "dense": read_dense,
}


def _flat_labels(y: np.ndarray, where: str) -> np.ndarray:
    """(N,) labels, as int64 or text."""
    if y.ndim == 2 and y.shape[1] > 1 and _zero_one(y) and _one_hot(y):
        return np.asarray(y).argmax(1)
    if y.ndim != 1 and y.shape[1:] != (1,):
        raise DataError(f"{where} {_brief(y)}: classes are one label a row, (N,) or one-hot (N, K)")
    y = np.asarray(y).reshape(-1)
    if y.dtype.kind in "US":
        return y.astype(str)
    if not _whole(y):
        raise DataError(f"{where} {_brief(y)}: class labels must be whole numbers or text, found {_first_broken(y)}")
    return y.astype(np.int64)


def _check_classes(source: Source, raw: dict[str, np.ndarray], classes: np.ndarray) -> None:
    textual = {labels.dtype.kind == "U" for labels in raw.values()}
    if len(textual) > 1:
        raise DataError(f"{source.name}: y is text in one part and numbers in another; use one of the two")
    for part, labels in raw.items():
        strange = np.flatnonzero(~np.isin(labels, classes))
        if strange.size:
            raise DataError(
                f"{source.where('y', part)}: label {labels[strange[0]].item()!r} in row {strange[0]} does not occur in "
                f"train ({classes[0]} .. {classes[-1]}); it is out of range, or train lacks a class"
            )
    if len(classes) < 2:
        raise DataError(f"{source.where('y', 'train')} holds a single class ({classes[0]}); there is nothing to learn")
    if classes.dtype.kind == "i":
        _check_range(classes, raw["train"], source.where("y", "train"))


def _check_range(classes: np.ndarray, labels: np.ndarray, where: str) -> None:
    """A gap is nearly always a broken label, and a class that never occurs would still get an output."""
    if classes.tolist() == [-1, 1]:
        return
    start = 1 if classes[0] == 1 else 0
    wrong = classes[classes != start + np.arange(len(classes))]
    if wrong.size == 0:
        return
    culprit = int(classes[0]) if classes[0] < 0 else int(wrong[0])
    row = int(np.flatnonzero(labels == culprit)[0])
    raise DataError(
        f"{where}: label {culprit} in row {row} is out of range; {len(classes)} classes are numbered "
        f"0..{len(classes) - 1} or 1..{len(classes)}: relabel them, or give names as text"
    )


def _with_channels(y: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """(N, C, *size) or (N, L)."""
    if y.ndim == 1 or y.shape[1:] == size:
        return y[:, None]
    if y.ndim == len(size) + 2 and y.shape[1:-1] == size and y.shape[2:] != size:
        return np.moveaxis(y, -1, 1)
    return y


def _same_rows(source: Source, y: dict[str, np.ndarray]) -> tuple[int, ...]:
    shape = y["train"].shape[1:]
    for part, array in y.items():
        if array.shape[1:] != shape:
            raise DataError(f"{source.where('y', part)} has rows of shape {array.shape[1:]}, y_train of {shape}")
    return tuple(shape)


def _whole(y: np.ndarray) -> bool:
    return y.dtype.kind in "biu" or (y.dtype.kind == "f" and bool((y == np.round(y)).all()))


def _zero_one(y: np.ndarray) -> bool:
    return y.dtype.kind in "biuf" and bool(((y == 0) | (y == 1)).all())


def _one_hot(y: np.ndarray) -> bool:
    return bool((np.asarray(y, dtype=np.int64).sum(1) == 1).all())


def _first_broken(y: np.ndarray) -> str:
    row = int(np.flatnonzero(y != np.round(y))[0])
    return f"{y[row].item()!r} in row {row}"


def _brief(y: np.ndarray) -> str:
    return f"has shape {y.shape} of {y.dtype}"
