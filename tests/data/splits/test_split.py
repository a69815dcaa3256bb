"""Splits drawn from the train part: shares of classes and of records."""

from __future__ import annotations

import numpy as np
import pytest

from dashfx.data import Data, load_data
from dashfx.data.splits.split import draw_units


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def classes(n: int = 40, k: int = 4) -> np.ndarray:
    return np.arange(n) % k


def rows_of(data: Data) -> dict[str, set[float]]:
    """Each row of `data` known by its first value, which the caller made unique."""
    parts = {}
    for part in ("train", "valid", "test"):
        arrays = data.part(part)
        parts[part] = set(arrays.x[arrays.index].reshape(len(arrays), -1)[:, 0].tolist())
        assert len(parts[part]) == len(arrays)
    return parts


@pytest.mark.parametrize("seed", range(5))
def test_a_record_counts_for_the_class_of_most_of_its_rows(seed: int) -> None:
    kinds = [[0, 0, 0, 1]] * 4 + [[1, 1, 1, 0]] * 4 + [[2, 2, 2, 2]] * 4
    records, classes = np.repeat(np.arange(12), 4), np.array(kinds).flatten()
    kept, drawn = draw_units(records, classes, 0.5, seed, "valid")
    for rows in (kept, drawn):
        usual = [kinds[record][0] for record in np.unique(records[rows])]
        assert sorted(usual) == [0, 0, 1, 1, 2, 2]


def test_missing_parts_are_carved_out_disjointly_and_by_class() -> None:
    x = np.arange(100.0)[:, None] + np.zeros(5)
    y = np.repeat([0, 1], [80, 20])
    data = load_data((x, y), seed=3)
    rows = rows_of(data)
    assert set.union(*rows.values()) == set(range(100)) and sum(map(len, rows.values())) == 100
    assert np.bincount(data.test.targets).tolist() == [16, 4]
    assert np.bincount(data.valid.targets).tolist() == [13, 3]
    assert any(note.startswith("valid: 20% of train, stratified, seed 3") for note in data.notes)


def test_another_seed_moves_validation_but_never_test() -> None:
    x = np.arange(100.0)[:, None] + np.zeros(5)
    first, again, other = (load_data((x, classes(100)), seed=seed) for seed in (0, 0, 1))
    assert rows_of(first) == rows_of(again)
    assert rows_of(first)["test"] == rows_of(other)["test"]
    assert rows_of(first)["valid"] != rows_of(other)["valid"]


def test_given_parts_are_left_alone() -> None:
    arrays = {f"x_{part}": np.full((n, 6), float(n)) for part, n in (("train", 40), ("val", 8), ("test", 12))}
    arrays |= {f"y_{part}": classes(n) for part, n in (("train", 40), ("val", 8), ("test", 12))}
    data = load_data(arrays)
    assert (len(data.train), len(data.valid), len(data.test)) == (40, 8, 12)


def test_rare_classes_stay_in_train() -> None:
    y = np.array([0] * 20 + [1] * 3 + [2])
    data = load_data((np.arange(24.0)[:, None] + np.zeros(5), y))
    counts = [np.bincount(data.part(part).targets, minlength=3).tolist() for part in ("train", "valid", "test")]
    assert counts == [[13, 1, 1], [3, 1, 0], [4, 1, 0]]


def test_duplicates_stay_in_one_part() -> None:
    x = rng().random((100, 1, 6))
    x = np.concatenate([x, x[:30], x[:30]])
    y = np.concatenate([classes(100), classes(30), classes(30)])
    data = load_data((x, y))
    seen = [set(data.part(part).x[data.part(part).index][:, 0, 0].tolist()) for part in ("train", "valid", "test")]
    assert not seen[0] & seen[1] and not seen[0] & seen[2] and not seen[1] & seen[2]
    assert not any(note.startswith("leak") for note in data.notes)
    assert any("stay in train as duplicates" in note for note in data.notes)
    assert set(np.unique(data.test.targets)) == set(range(4))


def test_a_class_of_duplicates_alone_is_still_in_each_part() -> None:
    x = np.concatenate([rng().random((40, 1, 6)), np.ones((20, 1, 6))])
    data = load_data((x, np.repeat([0, 1], [40, 20])))
    assert all(1 in data.part(part).targets for part in ("train", "valid", "test"))
    assert any(note.startswith("leak") for note in data.notes)
