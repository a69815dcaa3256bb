"""Rows of the benchmark: each finished training is a line of JSON beside its predictions, and is not run again."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dashfx.train.progress import end_last_line, read_log

Key = tuple[str, int, str]  # set, seed, variant
Row = Mapping[str, Any]


class Rows:
    """The rows of a folder: `rows.jsonl`, and `predictions/SET-SEED-VARIANT.npz` of each.

    The predictions are written first, so that a row that stands in the file has them.
    """

    def __init__(self, folder: Path) -> None:
        self._path, self._predictions = folder / "rows.jsonl", folder / "predictions"
        self._predictions.mkdir(parents=True, exist_ok=True)
        self.by_key: dict[Key, Row] = {key_of(row): row for row in read_log(self._path) if "variant" in row}

    def __contains__(self, key: Key) -> bool:
        return key in self.by_key

    def add(self, row: Row, predictions: Mapping[str, np.ndarray]) -> None:
        path = self._file(key_of(row))
        part = path.with_suffix(".part")
        with part.open("wb") as file:
            np.savez_compressed(file, **predictions)
        os.replace(part, path)
        end_last_line(self._path)
        with self._path.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(row) + "\n")
        self.by_key[key_of(row)] = row

    def predictions(self, key: Key) -> dict[str, np.ndarray]:
        """Scores (rows, classes) of a row's model, and the answers "valid_y" and "test_y".

        "valid" and "test" are by the last weights, "valid_best" and "test_best" by those of the best epoch.
        """
        with np.load(self._file(key)) as file:
            return {name: file[name] for name in file.files}

    def _file(self, key: Key) -> Path:
        name, seed, variant = key
        return self._predictions / f"{name}-{seed}-{variant.replace(' ', '_').replace(',', '')}.npz"


def key_of(row: Row) -> Key:
    return row["set"], row["seed"], row["variant"]
