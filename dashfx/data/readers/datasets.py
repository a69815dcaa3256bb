"""Datasets of Hugging Face: folders that `datasets` saved to disk, read from their memory-mapped files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from dashfx.data.parts import by_part
from dashfx.data.readers.border import border
from dashfx.data.readers.pictures.decode import DEEP, GREY, as_pixels, decoded_to
from dashfx.data.readers.rows import Rows, held
from dashfx.data.reading import Reading
from dashfx.data.source import Pair, Source, as_array, named
from dashfx.errors import DataError, did_you_mean

INPUTS = ("image", "img", "x", "input", "inputs", "signal", "series", "values")
LABELS = ("label", "labels", "y", "target", "targets", "class", "fine_label")


class Column(Rows):
    """One column: pictures as uint8 (N, C, H, W), arrays as (N, C, *size), a plain list as a series of one channel."""

    def __init__(self, table: Any, name: str, where: str, reading: Reading) -> None:
        self.table, self.name, self.where, self.reading = table.select_columns([name]), name, where, reading
        if not len(table):
            raise DataError(f"{where} has no rows; leave a split out rather than give it none")
        first = self._array(0)
        self.images = isinstance(self.table[0][name], Image.Image)
        if first.dtype.kind not in "biuf" or not 2 <= first.ndim <= 4:
            raise DataError(
                f"{where} holds {first.shape} of {first.dtype}; a row is an image, (L,) or (C, *size) of numbers"
            )
        super().__init__((len(table), *first.shape), first.dtype)

    def row(self, number: int, generator: torch.Generator | None) -> np.ndarray:
        array = self._array(number)
        if array.shape != self.shape[1:]:
            raise DataError(
                f"{self.where}: row {number} is {array.shape}, row 0 {self.shape[1:]}; bring all to one shape"
            )
        return array

    def _array(self, number: int) -> np.ndarray:
        with border(self.where, f"row {number} cannot be read", "remove or replace it"):
            value = self.table[int(number)][self.name]
            if isinstance(value, Image.Image):
                if value.mode.split(";")[0] in DEEP:
                    raise DataError(f"{self.where}: row {number} has more than 8 bits a channel; save numbers instead")
                grey = value.mode in GREY
                return as_pixels(value, "L" if grey else "RGB", self.reading)
            return np.atleast_2d(np.asarray(value))


def _answers(values: Any, where: str) -> np.ndarray:
    """y; `datasets` gives None where an answer is missing, and -1 for a class that is not known.

    Raises:
        DataError: a missing answer.
    """
    missing = [row for row, value in enumerate(values) if value is None]
    if missing:
        raise DataError(
            f"{where}: no answer in {len(missing)} of {len(values)} rows (first: row {missing[0]}); remove them"
        )
    return as_array(values, where)


def read_saved(parameter: str, reading: Reading) -> Source:
    """What `Dataset.save_to_disk` or `DatasetDict.save_to_disk` wrote; nothing is fetched from anywhere.

    Raises:
        DataError: datasets is not there, not such a folder, no column of inputs or labels.
    """
    folder = Path(parameter).expanduser()
    tables = _tables(folder)
    splits = by_part(tables, f"hf:{parameter}")
    if not splits:
        near = did_you_mean("train", tables)
        raise DataError(f"hf:{parameter} has no split 'train'{near}; it has {', '.join(tables) or 'none'}")
    unknown = [name for name in tables if name not in splits.values()]
    lead = splits.get("train", next(iter(splits.values())))
    names = tables[lead].column_names
    wanted = reading.columns or (_column(names, INPUTS, "input", folder), _column(names, LABELS, "label", folder))
    parts: dict[str, Pair] = {}
    images = False
    for part, split in splits.items():
        for name in wanted:
            if name not in tables[split].column_names:
                near = did_you_mean(name, tables[split].column_names)
                raise DataError(
                    f"{folder}/{split} has no column {name!r}{near}; it has {', '.join(tables[split].column_names)}"
                )
        where = f"{folder}/{split}"
        column = Column(tables[split], wanted[0], where, reading)
        x, images = held(column), images or column.images
        with border(where, f"column {wanted[1]!r} cannot be read", "save the folder again with save_to_disk"):
            y = tables[split][wanted[1]][:]
        parts[part] = (x, _answers(y, f"{where}: {wanted[1]}"))
    notes: tuple[str, ...] = (f"columns: x is {wanted[0]!r}, y is {wanted[1]!r}",)
    notes += (f"left unread: {', '.join(unknown)}",) if unknown else ()
    names = tuple(getattr(tables[lead].features[wanted[1]], "names", None) or ())
    outside = decoded_to("grey or RGB as the first one is", reading) if images else ()
    return named(Source(folder.name, parts, notes, images=images, outside=outside), names)


def _tables(folder: Path) -> dict[str, Any]:
    """The splits by name; a folder of one table is its train split."""
    if not folder.is_dir():
        raise DataError(f"hf:{folder}: no such folder; give what datasets' save_to_disk wrote")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # before the first import, which reads it
    try:
        from datasets import load_from_disk
    except ImportError:
        raise DataError(f'hf:{folder}: reading it needs the package datasets; pip install "dashfx[data]"') from None
    with border(f"hf:{folder}", "not a folder of datasets' save_to_disk", "save it again"):
        loaded = load_from_disk(str(folder))
        tables: dict[str, Any] = dict(loaded) if isinstance(loaded, Mapping) else {"train": loaded}
        for table in tables.values():
            table.data.validate(full=True)  # a damaged table would otherwise end the process when it is read
    return tables


def _column(names: list[str], usual: tuple[str, ...], what: str, folder: Path) -> str:
    lowered = {name.lower(): name for name in names}
    for name in usual:
        if name in lowered:
            return lowered[name]
    near = did_you_mean(what, names)
    raise DataError(
        f"hf:{folder} has no {what} column{near}; it has {', '.join(names)}: name x and y with reading.columns=[X,Y]"
    )
