"""Targets: raw y of every part goes in; class numbers, label rows or numbers to regress come out, with their names.

Unless the kind is given, y decides it:

1. (N,) or (N, 1) of whole numbers, bools or text: classes. Whole numbers are 0..K-1, 1..K, or -1 and 1.
2. (N, L) of zeros and ones: classes if every row has exactly one 1 (one-hot), otherwise several labels a row.
3. (N, *size) or (N, 1, *size) of whole numbers that are no floats, x being (N, C, *size): a class for every position.
4. (N, L, *size) of zeros and ones that are no floats: several labels for every position.
5. Other floats: numbers to regress, (N, L) or (N, C, *size). A y of x's size without a channel axis gets one.

A source may say the kind itself. Where the names of a model's classes are known, classes get its numbers.

Ignored are, in 3, classes below 0 (and 255 in uint8), and in labels and numbers of two axes and more, NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from dashfx.data.base import Kind, pieces, uncounted
from dashfx.data.source import Source, decoded, names_of
from dashfx.data.targets.names import numbers_of
from dashfx.errors import DataError, did_you_mean

EMPTY = ("", "nan", "none", "?")  # texts that stand where a label is missing


@dataclass(frozen=True)
class Targets:
    """y of every part, ready for `Arrays`, and what it means."""

    kind: Kind
    y: dict[str, np.ndarray]
    labels: tuple[str, ...]
    n_outputs: int
    note: str


def read_targets(
    source: Source, kind: str | None, size: tuple[int, ...], known: tuple[str, ...] | None = None
) -> Targets:
    """The targets of `source` as `kind`, or as the rules say; `size` is x's (*size).

    Args:
        known: the names of a model's classes or labels, whose numbers the targets get.

    Raises:
        DataError: an unknown kind, y that does not fit its kind, labels out of range, parts that do not agree, classes
            that the model does not know.
    """
    if twice := [label for label in source.labels if source.labels.count(label) > 1]:
        raise DataError(f"{source.name}: {twice[0]!r} names two classes or columns of y; give each a name of its own")
    kind = kind or source.kind
    if kind is None:
        kind = guess_kind(source.parts[source.lead][1], size, source.where("y", source.lead))
    if kind not in READERS:
        raise DataError(f"no kind of data {kind!r}{did_you_mean(kind, READERS)}; there are {', '.join(READERS)}")
    targets = READERS[kind](source, size, known or ())
    named = source.labels if kind != "classes" and len(source.labels) == targets.n_outputs else targets.labels
    return replace(targets, labels=named)


def guess_kind(y: np.ndarray, size: tuple[int, ...], where: str) -> Kind:
    """What y holds, by the rules above.

    Raises:
        DataError: whole numbers that fit neither rows nor positions.
    """
    if y.ndim == 1 or y.shape[1:] == (1,):
        return "classes" if y.dtype.kind in "US" or _whole(y) else "dense"
    if y.ndim == 2 and _zero_one(y):
        return "classes" if _one_hot(y) else "multilabel"
    if y.dtype.kind == "f":
        return "dense"
    if y.dtype.kind in "biu" and y.shape[1:] in (size, (1, *size)):
        return "dense-classes"
    if y.dtype.kind in "biu" and y.shape[2:] == size and _zero_one(y):
        return "multilabel"
    raise DataError(
        f"{where} {_brief(y)}: for a class at every position give {_axes(size)}, for quantities to regress floats"
    )


def read_classes(source: Source, size: tuple[int, ...], known: tuple[str, ...] = ()) -> Targets:
    raw = {part: _flat_labels(y, source.where("y", part)) for part, (_, y) in source.parts.items()}
    _same_type(source, raw)
    if raw[source.lead].dtype.kind == "U" and source.labels:
        known = known or source.labels  # which say the order of the names in y
    classes = np.unique(np.concatenate([*raw.values()]) if known else raw[source.lead])
    if known:
        found = source.labels if source.labels and classes.dtype.kind == "i" else ()
        texts = (names_of(classes, found, source.name) if found else classes.astype(str)).tolist()
        numbers, names = numbers_of(texts, known, source.name), known
    else:
        _check_classes(source, raw, classes)
        numbers, names = np.arange(len(classes)), source.labels or tuple(str(name) for name in classes.tolist())
        if len(names) != len(classes):
            raise DataError(f"{source.name}: {len(names)} names of classes, y has {len(classes)}; name each, in order")
    # Every label is in `classes`, which is sorted, so its place there is its number.
    y = {part: numbers[np.searchsorted(classes, labels)].astype(np.int64) for part, labels in raw.items()}
    return Targets("classes", y, names, len(names), f"labels: {len(names)} classes, {names[0]} .. {names[-1]}")


def read_multilabel(source: Source, size: tuple[int, ...], known: tuple[str, ...] = ()) -> Targets:
    y = {part: pair[1] for part, pair in source.parts.items()}
    for part, rows in y.items():
        if rows.ndim not in (2, 2 + len(size)) or not _zero_one(rows):
            raise DataError(
                f"{source.where('y', part)} {_brief(rows)}: several labels are zeros and ones, (N, L) or "
                f"{_axes(size, 'L')} (NaN is ignored)"
            )
    shape = _same_rows(source, y)
    unit = "row" if len(shape) == 1 else "position"
    return Targets("multilabel", y, (), shape[0], f"labels: {shape[0]} a {unit}, each 0 or 1{_unknown(y)}")


def read_dense(source: Source, size: tuple[int, ...], known: tuple[str, ...] = ()) -> Targets:
    for part, (_, rows) in source.parts.items():
        if rows.dtype.kind in "US":
            raise DataError(f"{source.where('y', part)} holds text; targets to regress must be numbers")
    y = {part: _with_channels(pair[1], size) for part, pair in source.parts.items()}
    shape = _same_rows(source, y)
    what = "tabular" if len(shape) == 1 else "dense"
    note = f"targets: numbers, {what}, {'x'.join(map(str, shape))} a row{_unknown(y)}"
    return Targets("dense", y, (), shape[0], note)


def read_dense_classes(source: Source, size: tuple[int, ...], known: tuple[str, ...] = ()) -> Targets:
    y, largest = {}, {}
    for part, (_, rows) in source.parts.items():
        where = source.where("y", part)
        y[part] = rows[:, 0] if rows.shape[1:] == (1, *size) else rows
        if y[part].shape[1:] != size:
            raise DataError(f"{where} {_brief(rows)}: a class for every position is {_axes(size)}")
        largest[part] = _largest_class(y[part], where)
    lead = source.lead
    n = len(source.labels) or len(known) or largest[lead] + 1
    for part, highest in largest.items():
        if highest >= n:
            among = f"the {n} that have names" if known or source.labels else f"{lead} (0..{n - 1})"
            raise DataError(f"{source.where('y', part)}: class {highest} does not occur in {among}")
    if n < 2:
        raise DataError(f"{source.where('y', lead)} holds a single class; there is nothing to learn")
    note = f"labels: {n} classes, one a position; below 0{' or 255' * (y[lead].dtype == np.uint8)} is ignored"
    return Targets("dense-classes", y, known[:n] or tuple(map(str, range(n))), n, note)


READERS: dict[str, Callable[[Source, tuple[int, ...], tuple[str, ...]], Targets]] = {
    "classes": read_classes,
    "multilabel": read_multilabel,
    "dense": read_dense,
    "dense-classes": read_dense_classes,
}


def _flat_labels(y: np.ndarray, where: str) -> np.ndarray:
    """(N,) labels, as int64 or text."""
    if y.ndim == 2 and y.shape[1] > 1 and _zero_one(y) and _one_hot(y):
        return np.asarray(y).argmax(1)
    if y.ndim != 1 and y.shape[1:] != (1,):
        raise DataError(f"{where} {_brief(y)}: classes are one label a row, (N,) or one-hot (N, K)")
    y = np.asarray(y).reshape(-1)
    if y.dtype.kind in "US":
        return _named(decoded(y, where), where)
    if not _whole(y):
        raise DataError(f"{where} {_brief(y)}: class labels must be whole numbers or text, found {_first_broken(y)}")
    return y.astype(np.int64)


def _named(names: np.ndarray, where: str) -> np.ndarray:
    """Names without the spaces and byte-order marks around them.

    Raises:
        DataError: one is empty, or says that it is missing.
    """
    names = np.char.strip(np.char.strip(names, "\ufeff"))
    missing = np.flatnonzero(np.isin(np.char.lower(names), EMPTY))
    if missing.size:
        raise DataError(
            f"{where}: {missing.size} of {len(names)} labels are missing (first: {names[missing[0]].item()!r} in row "
            f"{missing[0]}); remove those rows or name their class"
        )
    return names


def _same_type(source: Source, raw: dict[str, np.ndarray]) -> None:
    if len({labels.dtype.kind == "U" for labels in raw.values()}) > 1:
        raise DataError(f"{source.name}: y is text in one part and numbers in another; use one of the two")


def _check_classes(source: Source, raw: dict[str, np.ndarray], classes: np.ndarray) -> None:
    lead = source.lead
    for part, labels in raw.items():
        strange = np.flatnonzero(~np.isin(labels, classes))
        if strange.size:
            raise DataError(
                f"{source.where('y', part)}: label {labels[strange[0]].item()!r} in row {strange[0]} does not occur in "
                f"{lead} ({classes[0]} .. {classes[-1]}); it is out of range, or {lead} lacks a class"
            )
    if len(classes) < 2:
        raise DataError(f"{source.where('y', lead)} holds a single class ({classes[0]}); there is nothing to learn")
    if classes.dtype.kind == "i":
        _check_range(classes, raw[lead], source.where("y", lead))


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
        f"0..{len(classes) - 1} or 1..{len(classes)}: relabel them, give names as text, or say --task regress"
    )


def _largest_class(y: np.ndarray, where: str) -> int:
    """Looked for piece by piece: y may be as large as x."""
    if y.dtype.kind not in "biuf":
        raise DataError(f"{where} {_brief(y)}: a class for every position is a whole number from 0 up")
    largest = -1
    for part in pieces(len(y), y.shape[1:]):
        piece = y[part]
        if not _whole(piece):
            raise DataError(f"{where} {_brief(y)}: a class for every position is a whole number from 0 up")
        counted = piece[~uncounted(piece)]
        largest = max(largest, int(counted.max()) if counted.size else -1)
    return largest


def _with_channels(y: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """(N, C, *size) or (N, L)."""
    if y.ndim == 1 or y.shape[1:] == size:
        return y[:, None]
    if y.ndim == len(size) + 2 and y.shape[1:-1] == size and y.shape[2:] != size:
        return np.moveaxis(y, -1, 1)
    return y


def _same_rows(source: Source, y: dict[str, np.ndarray]) -> tuple[int, ...]:
    shape = y[source.lead].shape[1:]
    for part, array in y.items():
        if array.shape[1:] != shape:
            raise DataError(
                f"{source.where('y', part)} has rows of shape {array.shape[1:]}, y_{source.lead} of {shape}"
            )
    return tuple(shape)


def _whole(y: np.ndarray) -> bool:
    return y.dtype.kind in "biu" or (y.dtype.kind == "f" and bool((y == np.round(y)).all()))


def _zero_one(y: np.ndarray) -> bool:
    return y.dtype.kind in "biuf" and bool(((y == 0) | (y == 1) | (y != y)).all())  # NaN alone differs from itself


def _one_hot(y: np.ndarray) -> bool:
    return bool((np.asarray(y, dtype=np.float64).sum(1) == 1).all())


def _unknown(y: dict[str, np.ndarray]) -> str:
    """A note on ignored positions, where there are some."""
    shares = [f"{part} {share:.1%}" for part, rows in y.items() if (share := float(np.isnan(rows).mean())) > 0]
    return f"; NaN, ignored: {', '.join(shares)}" if shares else ""


def _axes(size: tuple[int, ...], channels: str = "") -> str:
    return f"({', '.join(['N', *([channels] if channels else []), *map(str, size)])})"


def _first_broken(y: np.ndarray) -> str:
    row = int(np.flatnonzero(y != np.round(y))[0])
    return f"{y[row].item()!r} in row {row}"


def _brief(y: np.ndarray) -> str:
    return f"has shape {y.shape} of {y.dtype}"
