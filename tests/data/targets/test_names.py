"""Names, not positions: classes of new data get the numbers of a model's classes, and data are read without a split."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dashfx.data import load_data
from dashfx.data.base import IGNORED
from dashfx.data.targets import renumbered
from dashfx.errors import DataError

RNG = np.random.default_rng(0)
X = RNG.random((40, 3, 8)).astype(np.float32)
NAMES = np.array(["ant", "bee", "cat", "dog"])
MODEL = ("dog", "cat", "bee", "ant", "eel")


def test_new_data_get_the_numbers_of_the_models_classes() -> None:
    y = NAMES[np.arange(40) % 4]
    for data in (load_data((X, y), labels=MODEL), renumbered(load_data((X, y)), MODEL)):
        assert data.labels == MODEL and data.output_shape == (5,)
        for part in (data.train, data.valid, data.test):
            assert [MODEL[number] for number in part.targets] == y[part.index].tolist()


def test_data_that_lack_classes_can_be_read() -> None:
    for y in (np.full(40, "cat"), NAMES[np.arange(40) % 2]):
        data = load_data((X, y), labels=MODEL, parts="whole")
        assert [MODEL[number] for number in data.test.targets] == y.tolist()
    numbers = load_data((X, np.full(40, 3)), labels=("0", "1", "2", "3"), parts="whole")
    assert set(numbers.test.targets.tolist()) == {3}


def test_numbers_that_have_names_are_matched_by_these() -> None:
    data = load_data({"x": X, "y": np.arange(40) % 4, "labels": NAMES}, labels=MODEL)
    assert data.labels == MODEL and [MODEL[n] for n in data.train.targets] == NAMES[data.train.index % 4].tolist()


def test_unknown_names_are_listed() -> None:
    y = np.array(["ant", "zebra", "yak"])[np.arange(40) % 3]
    with pytest.raises(DataError, match=r"'yak', 'zebra' are not among the model's classes.*'dog', 'cat'"):
        load_data((X, y), labels=MODEL)
    with pytest.raises(DataError, match="'yak', 'zebra' are not among"):
        renumbered(load_data((X, y)), MODEL)


def test_classes_at_positions_and_labels_are_matched_too() -> None:
    y = np.tile(np.array([0, 1, 2, 255], np.uint8), (40, 2))
    data = load_data({"x": X, "y": y, "labels": np.array(["sky", "tree", "road"])})
    assert data.labels == ("sky", "tree", "road")
    moved = renumbered(data, ("road", "sky", "tree"))
    assert moved.train[0][1].tolist() == [1, 2, 0, IGNORED] * 2
    several = load_data({"x": X, "y": RNG.integers(0, 2, (40, 3)), "labels": np.array(["a", "b", "c"])})
    assert np.array_equal(renumbered(several, ("c", "a", "b")).train.targets, several.train.targets[:, [2, 0, 1]])


def test_names_of_a_file(tmp_path: Path) -> None:
    arrays = {"x": X, "y": np.arange(40) % 4, "labels": NAMES[::-1], "channels": np.array(["red", "green", "ir"])}
    np.savez(tmp_path / "named.npz", **arrays)
    data = load_data(tmp_path / "named.npz")
    assert data.labels == ("dog", "cat", "bee", "ant") and data.channels == ("red", "green", "ir")
    assert not any("left unread" in note for note in data.notes)
    text = load_data({"x": X, "y": NAMES[np.arange(40) % 4], "labels": NAMES[::-1]})
    assert [text.labels[n] for n in text.train.targets] == NAMES[text.train.index % 4].tolist()
    some = load_data({"x": X, "y": np.arange(40) % 2, "labels": NAMES})  # train lacks two
    assert some.labels == ("ant", "bee")


@pytest.mark.parametrize(
    ("arrays", "given", "test"),
    [
        ({"x": X, "y": np.arange(40) % 4}, ("train",), 40),
        ({"x_test": X, "y_test": np.arange(40) % 4}, ("test",), 40),
        ({"x": X, "y": np.arange(40) % 4, "x_test": X[:8] + 1, "y_test": np.arange(8) % 4}, ("train", "test"), 8),
    ],
)
def test_data_read_whole(arrays: dict[str, Any], given: tuple[str, ...], test: int) -> None:
    data = load_data(arrays, parts="whole")
    assert data.given == given and len(data.test) == len(data.valid) == test
    assert len(data.train) == (40 if "train" in given else test) and not any("leak" in note for note in data.notes)


def test_test_only_data_are_refused_for_training() -> None:
    with pytest.raises(DataError, match="no arrays to train on; it has test alone"):
        load_data({"x_test": X, "y_test": np.arange(40) % 4})


@pytest.mark.parametrize(
    "y",
    [np.tile(np.array([0, 1, 2, 255], np.uint8), (40, 2)), RNG.normal(size=(40, 3)), RNG.integers(0, 2, (40, 3))],
    ids=("dense-classes", "dense", "multilabel"),
)
def test_names_of_columns_and_of_classes_at_positions(y: np.ndarray) -> None:
    names, model = np.array(["sky", "tree", "road"]), ("road", "sky", "tree")
    data = load_data({"x": X, "y": y, "labels": names}, labels=model, parts="whole")
    assert data.labels == model
    if data.kind == "dense-classes":
        assert data.test[0][1].tolist() == [1, 2, 0, IGNORED] * 2
    else:
        np.testing.assert_allclose(data.test[0][1], y[0][[2, 0, 1]], rtol=1e-6)
    with pytest.raises(DataError, match="'moon' is not among the model's classes"):
        load_data({"x": X, "y": y, "labels": np.array(["sky", "tree", "moon"])}, labels=model, parts="whole")


@pytest.mark.parametrize("y", [np.arange(40) % 4 + 1, np.arange(40) % 2 * 3 + 1, np.arange(40) % 4])
def test_classes_numbered_from_one_have_their_names(y: np.ndarray) -> None:
    data = load_data({"x": X, "y": y, "labels": NAMES}, labels=tuple(NAMES), parts="whole")
    assert data.test.targets.tolist() == (y - (y.max() == 4)).tolist()


def test_a_name_for_two_classes_is_refused() -> None:
    for y in (np.arange(40) % 4, RNG.integers(0, 2, (40, 4)), NAMES[np.arange(40) % 4]):
        with pytest.raises(DataError, match="'bee' names two classes"):
            load_data({"x": X, "y": y, "labels": np.array(["ant", "bee", "bee", "dog"])})
    data = load_data({"x": X, "y": np.arange(40) % 4, "channels": np.array(["a", "b", "a"])})
    assert data.channels == () and any("occur twice" in note for note in data.notes)
