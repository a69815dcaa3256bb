"""A folder that `datasets` saved to disk goes in; rows read from its memory-mapped files, and labels, come out."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dashfx.data.readers.rows import Rows, held
from dashfx.data.reading import Reading
from dashfx.data.source import Source
from dashfx.errors import DataError, did_you_mean, first_line

SPLITS = {"train": "train", "valid": "valid", "validation": "valid", "val": "valid", "dev": "valid", "test": "test"}
INPUTS = ("image", "img", "x", "input", "inputs", "signal", "series", "values")
LABELS = ("label", "labels", "y", "target", "targets", "class", "fine_label")


class Column(Rows):
    """One column: pictures as uint8 (N, C, H, W), arrays as (N, C, *size), a plain list as a series of one channel."""

    def __init__(self, table: Any, name: str, where: str) -> None:
        self.table, self.name, self.where = table.select_columns([name]), name, where
        first = self._array(0)
        if first.dtype.kind not in "biuf" or not 2 <= first.ndim <= 4:
            raise DataError(
                f"{where} holds {first.shape} of {first.dtype}; a row is an image, (L,) or (C, *size) of numbers"
            )
        dtype = np.float32 if first.dtype == np.float64 else first.dtype
        super().__init__((len(table), *first.shape), dtype)

    def row(self, number: int, generator: torch.Generator | None) -> np.ndarray:
        array = self._array(number)
        if array.shape != self.shape[1:]:
            raise DataError(
                f"{self.where}: row {number} is {array.shape}, row 0 {self.shape[1:]}; bring all to one shape"
            )
        return array

    def _array(self, number: int) -> np.ndarray:
        value = self.table[int(number)][self.name]
        try:
            if hasattr(value, "convert"):  # a picture
                array = np.asarray(value.convert("L" if value.mode in ("1", "L") else "RGB"))
                return array[None] if array.ndim == 2 else array.transpose(2, 0, 1)
            return np.atleast_2d(np.asarray(value))
        except (ValueError, OSError) as error:
            raise DataError(f"{self.where}: row {number} cannot be read ({first_line(error)})") from None


def read_saved(parameter: str, reading: Reading) -> Source:
    """What `Dataset.save_to_disk` or `DatasetDict.save_to_disk` wrote; nothing is fetched from anywhere.

    Raises:
        DataError: datasets is not there, not such a folder, no column of inputs or labels.
    """
    folder = Path(parameter).expanduser()
    tables = _tables(folder)
    unknown = [name for name in tables if name not in SPLITS]
    if "train" not in tables:
        near = did_you_mean("train", tables)
        raise DataError(f"hf:{parameter} has no split 'train'{near}; it has {', '.join(tables) or 'none'}")
    names = tables["train"].column_names
    wanted = reading.columns or (_column(names, INPUTS, "input", folder), _column(names, LABELS, "label", folder))
    parts = {}
    for split, table in tables.items():
        for name in wanted:
            if name not in table.column_names:
                near = did_you_mean(name, table.column_names)
                raise DataError(
                    f"{folder}/{split} has no column {name!r}{near}; it has {', '.join(table.column_names)}"
                )
        if split in SPLITS:
            y = np.asarray(table[wanted[1]][:])
            parts[SPLITS[split]] = (held(Column(table, wanted[0], f"{folder}/{split}")), y)
    notes: tuple[str, ...] = (f"columns: x is {wanted[0]!r}, y is {wanted[1]!r}",)
    notes += (f"left unread: {', '.join(unknown)}",) if unknown else ()
    return _named(Source(folder.name, parts, notes), tables["train"].features[wanted[1]])


def _tables(folder: Path) -> dict[str, Any]:
    """The splits by name; a folder of one table is its train split."""
    if not folder.is_dir():
        raise DataError(f"hf:{folder}: no such folder; give what datasets' save_to_disk wrote")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # before the first import, which reads it
    try:
        from datasets import load_from_disk
    except ImportError:
        raise DataError(f'hf:{folder}: reading it needs the package datasets; pip install "dashfx[data]"') from None
    try:
        loaded = load_from_disk(str(folder))
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"hf:{folder}: not a folder of datasets' save_to_disk ({first_line(error)})") from None
    return dict(loaded) if isinstance(loaded, Mapping) else {"train": loaded}


def _column(names: list[str], usual: tuple[str, ...], what: str, folder: Path) -> str:
    lowered = {name.lower(): name for name in names}
    for name in usual:
        if name in lowered:
            return lowered[name]
    near = did_you_mean(what, names)
    raise DataError(
        f"hf:{folder} has no {what} column{near}; it has {', '.join(names)}: name x and y with reading.columns=[X,Y]"
    )


def _named(source: Source, feature: Any) -> Source:
    """The source with the names of its classes, where the column knows them.

    The numbers stay, which a checkpoint for this data set counts on, unless train lacks one: then y is the names.
    """
    names = tuple(getattr(feature, "names", None) or ())
    numbers = {part: y for part, (_, y) in source.parts.items()}
    if not names or any(y.dtype.kind not in "iu" or not ((y >= 0) & (y < len(names))).all() for y in numbers.values()):
        return source
    if len(np.unique(numbers["train"])) == len(names):
        return replace(source, labels=names)
    return replace(source, parts={part: (x, np.asarray(names)[y]) for part, (x, y) in source.parts.items()})
