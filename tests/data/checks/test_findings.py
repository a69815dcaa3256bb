"""Notes on data that can be learnt from but misleads."""

from typing import Any

import numpy as np
import pytest

from dashfx.data import load_data

RNG = np.random.default_rng(0)
X = RNG.random((200, 3, 8)).astype(np.float32)
Y = np.arange(200) % 4


def notes(arrays: Any, **options: Any) -> str:
    return "\n".join(load_data(arrays, **options).notes)


def changed(array: np.ndarray, at: Any, value: Any) -> np.ndarray:
    array = array.copy()
    array[at] = value
    return array


TWICE = np.concatenate([X, X[:10]])
SCALES = np.array([1e5, 300.0, 1e-3])


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ((X, np.where(np.arange(200) < 6, 1, 0)), "0' is 97% of train"),
        ((X, changed(Y, slice(1), 4)), "'4' has one row in train"),
        ((TWICE, np.concatenate([Y, (Y[:10] + 1) % 4])), "10 rows of x occur with more than one class"),
        ((changed(X, np.s_[:, 1], 7), Y), "channels: constant in train: 1"),
        (({"x": X, "y": Y, "x_test": X[:40] + 100, "y_test": Y[:40]}), "deviations of train"),
        ((RNG.random((40, 100, 3)), Y[:40]), "reading.layout=last"),
        ((X, RNG.random((200, 3)) * SCALES), "y0 "),
        ((X, changed(RNG.random((200, 3)), np.s_[:, 1], 5)), "targets: constant in train: y1"),
        ((X, 1.7e9 + RNG.random((200, 2))), "2 vary little beside their mean"),
    ],
)
def test_what_misleads_is_said(arrays: Any, words: str) -> None:
    assert words in notes(arrays)


def test_nothing_is_said_of_ordinary_data() -> None:
    found = load_data((X, Y)).notes
    assert [note.partition(":")[0] for note in found] == ["layout", "labels", "test", "valid"]


def test_what_a_few_rows_or_a_single_x_cannot_tell_is_not_said() -> None:
    assert "of train, so" not in notes((X[:30], np.where(np.arange(30) < 2, 1, 0)))
    assert "more than one class" not in notes((np.zeros_like(X), Y))


def test_a_channel_that_is_constant_does_not_hide_one_that_lies_far_away() -> None:
    x, test = changed(X, np.s_[:, 1], 7), changed(X[:40] + 100, np.s_[:, 1], 7)
    assert "test: channel" in notes({"x": x, "y": Y, "x_test": test, "y_test": Y[:40]})
    x, test = changed(X, np.s_[:, 1], 7), changed(X[:40], np.s_[:, 1], 8)
    assert "deviations of train" not in notes({"x": x, "y": Y, "x_test": test, "y_test": Y[:40]})


def test_targets_of_rows_are_called_tabular_and_their_ranges_told() -> None:
    y = np.stack([np.linspace(0, 1e5, 200), np.linspace(-3, 3, 200)], 1)
    data = load_data({"x_train": X, "y_train": y, "labels": np.array(["pressure", "angle"])})
    assert data.described == "tabular" and data.labels == ("pressure", "angle")
    assert any("tabular, 2 a row" in note for note in data.notes)
    told = next(note for note in data.notes if note.startswith("targets: in train"))
    assert "pressure" in told and "angle" in told and "mean" in told
    assert load_data((X, RNG.random((200, 1, 8)))).described == "dense"
