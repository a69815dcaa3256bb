"""Each mistake in data is one DataError of one line that names the place and the remedy."""

import io
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from dashfx.data import load_data
from dashfx.data.reading import Reading
from dashfx.errors import DataError

X = np.random.default_rng(0).random((40, 3, 8)).astype(np.float32)
Y = np.arange(40) % 4


def changed(array: np.ndarray, row: int, value: float) -> np.ndarray:
    array = array.copy()
    array[row] = value
    return array


def refuse(spec: Any, *words: str, **options: Any) -> None:
    with pytest.raises(DataError) as caught:
        load_data(spec, **options)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert re.search(re.escape(word), message), message


@pytest.mark.parametrize(
    ("x", "y", "words"),
    [
        (X[:, 0, 0], Y, ("x_train", "shape (40,)")),
        (X[(...,) + (None,) * 3], Y, ("x_train", "shape")),
        (changed(X, 7, np.nan), Y, ("x_train", "NaN", "1 of 40", "row 7")),
        (changed(X, 7, np.inf), Y, ("row 7",)),
        (X, changed(Y.astype(float), 5, np.nan), ("y_train", "row 5")),
        (X, changed(Y, 5, 99), ("label 99", "row 5", "0..4")),
        (X, changed(Y, 5, -1), ("label -1", "row 5")),
        (X, Y[:30], ("40 rows", "30")),
        (X, Y * 0, ("single class",)),
        (X[:0], Y[:0], ("empty",)),
        (X, np.int64(3), ("single value",)),
        (X.astype(str), Y, ("text",)),
        (X.astype(object), Y, ("object",)),
        (X + 1j, Y, ("complex",)),
        ([[1.0, 2.0], [1.0]], [0, 1], ("different lengths",)),
        ([np.ones(4), np.ones(0)], [0, 1], ("row 1", "no samples")),
        (np.ma.masked_greater(X, 0.9), Y, ("masked values",)),
        (X, np.arange(40.0) ** 2, ("--task regress",)),
        (X, np.zeros((40, 5), np.uint8) + np.arange(5, dtype=np.uint8), ("class at every position give (N, 8)",)),
        (X, changed(X[:, 0], 5, np.inf), ("y_train", "infinity", "row 5")),
        (X[:1], Y[:1], ("single class",)),
    ],
)
def test_bad_arrays(x: Any, y: Any, words: tuple[str, ...]) -> None:
    refuse({"x": x, "y": y}, *words)


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ({"x_test": X, "y_test": changed(Y, 3, 4)}, ("y_test", "label 4", "row 3", "train")),
        ({"x_valid": X[:0], "y_valid": Y[:0]}, ("x_valid", "empty")),
        ({"x_test": X[:, :2], "y_test": Y}, ("x_test", "(2, 8)", "(3, 8)")),
        ({"x_test": (X * 255).astype(np.uint8), "y_test": Y}, ("x_test", "uint8")),
        ({"x_test": X, "y_test": Y.astype(str)}, ("text", "numbers")),
        ({"x_test": X}, ("x_test", "alone")),
        ({"x_test": changed(X, 2, np.nan), "y_test": Y}, ("x_test", "NaN")),
    ],
)
def test_parts_that_do_not_agree(extra: dict[str, np.ndarray], words: tuple[str, ...]) -> None:
    refuse({"x_train": X, "y_train": Y, **extra}, *words)


def test_wrong_kinds() -> None:
    refuse((X, Y), "multilable", "multilabel", kind="multilable")
    refuse((X, Y), "zeros and ones", kind="multilabel")
    refuse((X, Y + 0.5), "whole numbers", "0.5", "row 0", kind="classes")
    refuse((X, Y.astype(str)), "text", kind="dense")
    refuse({"x": X, "y": X[:, 0], "x_test": X, "y_test": X}, "y_test", "(1, 8)")


def test_options_of_images_and_files_are_not_for_arrays() -> None:
    refuse((X, Y), "reading.size=4 resizes the images", "3x8", reading=Reading(size=4))
    load_data((X, Y), reading=Reading(size=(3, 8)))  # as it is, such as new data for a model of that size
    refuse((X, Y), "under the key groups", reading=Reading(groups="(a)"))
    refuse((X, Y), "reading.ignore is for folders of masks", reading=Reading(ignore=0))
    refuse((X[:, 0], Y), "does not go with reading.layout=last", reading=Reading(layout="last"))
    refuse({"x": [X[0], X[1][:, :4]] * 9, "y": Y[:18]}, "leave it out", reading=Reading(layout="last", fit="pad"))


def test_wrong_options() -> None:
    refuse((X, Y), "valid_fraction", valid_fraction=1.0)
    refuse((X, Y), "limit", limit=0)
    refuse((X, np.arange(40)), "too few")  # every class has one row
    refuse((X,), "pairs")
    refuse(3, "int")
    refuse("", "no data")


def test_no_such_thing(tmp_path: Path) -> None:
    np.savez(tmp_path / "digits8.npz", x=X, y=Y)
    (tmp_path / "mine.py").write_text("def arrays(n):\n    pass\nthree = 3\ndef number():\n    return 3\n")
    (tmp_path / "table.csv").write_text("1,2\n")
    refuse("digts", "did you mean 'digits'", "mnist5k")
    refuse("dacry:85", "did you mean 'darcy'")
    refuse("darcy:big", "whole number")
    refuse("darcy:86/2", "divide")
    refuse("digits:3", "no parameter")
    refuse(tmp_path / "digit8.npz", "no such file", "did you mean 'digits8.npz'")
    refuse(f"{tmp_path / 'digits8.npz'}+{tmp_path / 'none.npz'}", "no such file", "none.npz")
    refuse(tmp_path / "table.csv", ".csv", ".npz")
    refuse(f"{tmp_path / 'mime.py'}:arrays", "did you mean 'mine.py'")
    refuse(f"{tmp_path / 'mine.py'}:arays", "did you mean 'arrays'")
    refuse(f"{tmp_path / 'mine.py'}:arrays", "arguments (n)")
    refuse(f"{tmp_path / 'mine.py'}:three", "not a function")
    refuse(f"{tmp_path / 'mine.py'}:number", "returned a int")
    refuse("no_such_package.data:arrays", "no module named 'no_such_package.data'")


def test_code_that_fails_keeps_its_traceback_but_a_missing_package_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("def arrays():\n    raise KeyError('mine')\n")
    with pytest.raises(KeyError, match="mine"):
        load_data(f"{tmp_path / 'broken.py'}:arrays")
    (tmp_path / "needs.py").write_text("import no_such_package_at_all\n")
    refuse(f"{tmp_path / 'needs.py'}:arrays", "needs 'no_such_package_at_all'", "install it")


@pytest.mark.parametrize("compressed", [False, True])
def test_object_arrays_in_npz_are_not_unpickled(tmp_path: Path, compressed: bool) -> None:
    (np.savez_compressed if compressed else np.savez)(tmp_path / "set.npz", x=X.astype(object), y=Y)
    refuse(tmp_path / "set.npz", "set.npz", "object arrays")


def test_files_that_are_something_else(tmp_path: Path) -> None:
    (tmp_path / "noise.npz").write_bytes(b"not a zip")
    refuse(tmp_path / "noise.npz", "noise.npz", "readable")
    np.savez(tmp_path / "keys.npz", images=X, y=Y)
    refuse(tmp_path / "keys.npz", "y stands alone", "images")
    whole = io.BytesIO()
    np.savez(whole, x=X, y=Y)
    (tmp_path / "half.npz").write_bytes(whole.getvalue()[: len(whole.getvalue()) // 2])
    refuse(tmp_path / "half.npz", "half.npz")
    (tmp_path / "noise.pt").write_bytes(b"not tensors")
    refuse(tmp_path / "noise.pt", "plain tensors")
    torch.save(X, tmp_path / "code.pt", pickle_module=pickle)
    refuse(tmp_path / "code.pt", "plain tensors")
    torch.save(torch.from_numpy(X), tmp_path / "one.pt")
    refuse(tmp_path / "one.pt", "holds a Tensor")
    np.savez(tmp_path / "both.npz", x_train=X, y_train=Y, x_test=X, y_test=Y)
    refuse(f"{tmp_path / 'both.npz'}+{tmp_path / 'both.npz'}", "already has the parts")


def test_bad_image_folders(tmp_path: Path) -> None:
    refuse(tmp_path, "class folders")
    for name, size in (("a", (6, 6)), ("b", (6, 7))):
        (tmp_path / "sizes" / name).mkdir(parents=True)
        Image.new("L", size).save(tmp_path / "sizes" / name / "0.png")
    refuse(tmp_path / "sizes", str(Path("b", "0.png")), "6x7", "6x6")
    (tmp_path / "sizes" / "b" / "0.png").write_bytes(b"no image")
    refuse(tmp_path / "sizes", "not a readable image")
    (tmp_path / "sizes" / "b" / "0.png").unlink()
    refuse(tmp_path / "sizes", "no images")
    (tmp_path / "deep" / "a").mkdir(parents=True)
    Image.new("I;16", (6, 6)).save(tmp_path / "deep" / "a" / "0.png")
    refuse(tmp_path / "deep", "8 bits")


def test_nan_is_found_beyond_the_first_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dashfx.data.base.CHUNK_ELEMENTS", 10 * X[0].size)
    refuse({"x": changed(changed(X, 17, np.nan), 39, np.nan), "y": Y}, "2 of 40", "row 17")
