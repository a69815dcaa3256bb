"""Files joined by +: classes, channels and groups of each are matched by name."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dashfx.data import load_data
from dashfx.errors import DataError

X = np.random.default_rng(0).random((40, 3, 8)).astype(np.float32)
Y = np.arange(40) % 4
NAMES = np.array(["ant", "bee", "cat", "dog"])


def joined(folder: Path, train: dict[str, Any], test: dict[str, Any]) -> str:
    np.savez(folder / "train.npz", **({"x": X, "y": Y} | train))
    np.savez(folder / "test.npz", **({"x": X + 1, "y": Y} | test))
    return f"{folder / 'train.npz'}+{folder / 'test.npz'}"


@pytest.mark.parametrize(
    ("rows", "y", "labels"),
    [
        (40, Y, NAMES[::-1]),
        (40, Y + 1, NAMES[::-1]),
        (30, Y[:30] % 3, NAMES),  # which lacks a class
        (30, Y[:30] % 3, NAMES[[2, 0, 1]]),
    ],
)
def test_classes_by_name(tmp_path: Path, rows: int, y: np.ndarray, labels: np.ndarray) -> None:
    data = load_data(joined(tmp_path, {"labels": NAMES}, {"x": X[:rows] + 1, "y": y, "labels": labels}))
    assert data.labels == tuple(NAMES)
    assert NAMES[data.test.targets].tolist() == labels[y - y.min()].tolist()


def test_unknown_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'yak'"):
        load_data(joined(tmp_path, {"labels": NAMES}, {"labels": np.array(["ant", "bee", "cat", "yak"])}))
    several = {"y": np.eye(4)[Y] + np.eye(4)[0] * (Y > 0)[:, None], "labels": NAMES}
    with pytest.raises(DataError, match="columns in one order"):
        load_data(joined(tmp_path, several, several | {"labels": NAMES[::-1]}))


def test_channels_by_name(tmp_path: Path) -> None:
    names = np.array(["x", "y", "z"])
    spec = joined(tmp_path, {"channels": names}, {"x": X[:, ::-1] + 1, "channels": names[::-1]})
    data = load_data(spec, normalise=False)
    np.testing.assert_array_equal(data.test[0][0], X[0] + 1)
    assert data.channels == ("x", "y", "z") and any("picked by name from z, y, x" in note for note in data.notes)
    with pytest.raises(DataError, match="train has x, y, z: x is missing"):
        load_data(joined(tmp_path, {"channels": names}, {"channels": np.array(["w", "y", "z"])}))


@pytest.mark.parametrize("groups", [Y.astype(float), Y.astype(str), np.char.encode(Y.astype(str), "utf-8")])
def test_groups_of_two_types_are_the_same_groups(tmp_path: Path, groups: np.ndarray) -> None:
    data = load_data(
        joined(tmp_path, {"groups": Y, "y": Y * 0 + (np.arange(40) // 4) % 2}, {"groups": groups, "y": Y % 2})
    )
    assert any("groups of test are also in train" in note for note in data.notes)


def test_groups_of_bytes_beyond_ascii(tmp_path: Path) -> None:
    names = np.array(["ü", "b"])[np.arange(40) // 20]
    load_data(joined(tmp_path, {"groups": np.char.encode(names, "utf-8")}, {"groups": names}))
