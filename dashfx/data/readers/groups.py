"""Groups of files (patients, speakers): a table beside the files, or an expression on their names, says each file's."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from dashfx.data.readers.border import border
from dashfx.data.reading import Reading
from dashfx.data.source import Source
from dashfx.errors import DataError, did_you_mean

TABLES = {".csv": ",", ".tsv": "\t"}


def grouped(source: Source, paths: Mapping[str, Sequence[Path]], roots: Mapping[str, Path], reading: Reading) -> Source:
    """The source with the group of each file, as `reading.groups` says; files of one group are never split.

    Args:
        paths: of each part, the file of each row.
        roots: the folder that each part's paths are taken relative to.

    Raises:
        DataError: a table that cannot be read or lacks a file, a bad expression, or one that does not fit a file.
    """
    if reading.groups is None:
        return source
    names = {part: [path.relative_to(roots[part]).as_posix() for path in each] for part, each in paths.items()}
    table = Path(reading.groups).expanduser()
    find = ByTable(table) if table.suffix.lower() in TABLES else ByExpression(reading.groups)
    groups = {part: np.array([find(name) for name in each]) for part, each in names.items()}
    n = len(np.unique(np.concatenate([*groups.values()])))
    return replace(source, groups=groups, notes=(*source.notes, f"groups: {n}, by {reading.groups}"))


class ByTable:
    """A line a file: its path below the part's folder, or its name, and the group; a heading line may stand above."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise DataError(f"reading.groups: no such file: {path}")
        with (
            border(path, "not a table of files and groups", "write a line a file: name,group"),
            open(path, newline="", encoding="utf-8-sig") as file,
        ):
            rows = [row for row in csv.reader(file, delimiter=TABLES[path.suffix.lower()]) if row]
        short = [number for number, row in enumerate(rows, 1) if len(row) < 2 or not row[1].strip()]
        if short:
            raise DataError(f"{path}: line {short[0]} has no group; a line is a file's name and its group")
        self.groups = {row[0].strip().replace("\\", "/"): row[1].strip() for row in rows}

    def __call__(self, name: str) -> str:
        for known in (name, name.rpartition("/")[2], name.rpartition("/")[2].rpartition(".")[0]):
            if known in self.groups:
                return self.groups[known]
        raise DataError(f"{self.path} has no line for {name}{did_you_mean(name, self.groups)}; add it")


class ByExpression:
    """What the first bracket of the expression finds in a file's path below the part's folder."""

    def __init__(self, text: str) -> None:
        try:
            self.expression = re.compile(text)
        except re.error as error:
            raise DataError(f"reading.groups: {text!r} is no regular expression ({error})") from None
        if self.expression.groups < 1:
            raise DataError(rf"reading.groups: {text!r} has no bracket around the group; write, for p12_3.png, (p\d+)_")

    def __call__(self, name: str) -> str:
        found = self.expression.search(name)
        if found is None or found[1] is None:
            raise DataError(
                f"reading.groups: {self.expression.pattern!r} does not fit {name}; change it, or give a table"
            )
        return found[1]
