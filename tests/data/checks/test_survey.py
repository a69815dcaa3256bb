"""What a look at every row tells: ranges, classes, missing values, and rows or records in two parts."""

import numpy as np
import pytest

from dashfx.data import load_data
from dashfx.data.checks.leaks import check_leaks, leaks
from dashfx.data.checks.survey import survey
from dashfx.errors import DataError

RNG = np.random.default_rng(0)
X = RNG.random((40, 3, 8)).astype(np.float32)
Y = np.arange(40) % 4
OTHER = RNG.random((10, 3, 8)).astype(np.float32)


def test_facts_of_each_part() -> None:
    data = load_data({"x_train": X * 7 + 3, "y_train": Y, "x_test": OTHER, "y_test": Y[:10]}, seed=3)
    train, valid, test = survey(data).parts
    raw = (X * 7 + 3)[data.train.index]
    assert (train.low, train.high) == (raw.min(), raw.max()) and train.rows + valid.rows == 40
    assert train.mean == pytest.approx(raw.mean()) and train.std == pytest.approx(raw.std(), rel=1e-5)
    assert test.counts == (3, 3, 2, 2) and np.array_equal(np.add(train.counts, valid.counts), [10] * 4)
    assert train.missing == 0 and train.records is None
    assert survey(data).leaks == ()


def test_missing_answers() -> None:
    y = np.zeros((40, 8), np.uint8)
    y[:, 2], y[:, :2] = 1, 255
    assert survey(load_data((X, y))).parts[0].missing == pytest.approx(0.25)
    y = RNG.random((40, 4)).astype(np.float32)
    y[:, 0] = np.nan
    assert survey(load_data((X, y))).parts[2].missing == pytest.approx(0.25)


def test_rows_in_two_parts_are_counted() -> None:
    test = np.concatenate([OTHER[:4], X[[3, 7, 9]]])
    data = load_data({"x_train": X, "y_train": Y, "x_test": test, "y_test": Y[:7], "x_valid": OTHER, "y_valid": Y[:10]})
    found = survey(data).leaks
    assert [(leak.part, leak.earlier, leak.rows, leak.of, leak.first) for leak in found] == [
        ("test", "train", 3, 7, 4),
        ("test", "valid", 4, 7, 0),
    ]
    assert [note for note in data.notes if note.startswith("leak: ")] == [str(leak) for leak in found]
    check_leaks(list(found), data.name)  # some are no reason to refuse


def test_a_part_without_a_new_row_is_refused() -> None:
    arrays = {"x_train": X, "y_train": Y, "x_valid": OTHER, "y_valid": Y[:10]}
    data = load_data({**arrays, "x_test": X[5:9], "y_test": Y[5:9]})
    with pytest.raises(DataError, match="all 4 rows of test are also in train"):
        check_leaks(list(survey(data).leaks), data.name)


def test_groups_in_two_parts_are_counted() -> None:
    arrays = {"x_train": X, "y_train": Y, "groups_train": np.arange(40) // 2}
    data = load_data({**arrays, "x_test": OTHER, "y_test": Y[:10], "groups_test": np.arange(10) + 18})
    (leak,) = (each for each in leaks({p: data.part(p) for p in ("train", "valid", "test")}) if each.earlier == "train")
    assert leak.what == "groups" and 1 <= leak.rows <= 2 and leak.of == 10
