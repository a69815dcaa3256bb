"""Specs of every kind to Data: layouts, labels, splits, normalisation, loaders."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from dashfx.data import Normalisation, load_data
from dashfx.data.base import IGNORED
from dashfx.data.readers.npz import read_npz
from dashfx.data.reading import Reading
from dashfx.errors import DataError


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def classes(n: int = 40, k: int = 4) -> np.ndarray:
    return np.arange(n) % k


@pytest.mark.parametrize(
    ("shape", "dtype", "expected", "word"),
    [
        ((40, 30), np.float32, (1, 30), "one-channel series"),
        ((40, 30), np.uint8, (1, 30), "one-channel series"),
        ((40, 6, 30), np.float64, (6, 30), "6-channel series"),
        ((40, 6, 30), np.uint8, (1, 6, 30), "grey images"),
        ((40, 1, 30), np.uint8, (1, 30), "1-channel series"),
        ((40, 6, 7), bool, (1, 6, 7), "grey images"),
        ((40, 3, 8, 9), np.float16, (3, 8, 9), "channels-first"),
        ((40, 8, 9, 3), np.uint8, (3, 8, 9), "channels-last"),
        ((40, 8, 9, 1), np.int16, (1, 8, 9), "channels-last"),
        ((40, 64, 4, 4), np.float32, (64, 4, 4), "channels-first"),
        ((40, 5, 6, 7, 3), np.float32, (3, 5, 6, 7), "channels-last"),
        ((40, 2, 5, 6, 7), np.float32, (2, 5, 6, 7), "channels-first"),
    ],
)
def test_layout(shape: tuple[int, ...], dtype: type, expected: tuple[int, ...], word: str) -> None:
    data = load_data((rng().integers(0, 2, shape).astype(dtype), classes()))
    assert data.input_shape == expected
    assert word in data.notes[0]
    x, y = next(iter(data.loader("valid", 4)))
    assert x.shape == (4, *expected) and x.dtype == torch.float32
    assert y.shape == (4,) and y.dtype == torch.int64


def test_channels_last_keeps_every_pixel_in_place() -> None:
    x = rng().integers(0, 256, (40, 5, 6, 3), dtype=np.uint8)
    data = load_data((x, classes()), normalise=False)
    row, _ = data.train[7]
    expected = torch.from_numpy(x[data.train.index[7]]).permute(2, 0, 1) / 255
    torch.testing.assert_close(row, expected)


@pytest.mark.parametrize(
    ("y", "names"),
    [
        (classes(), ("0", "1", "2", "3")),
        (classes() + 1, ("1", "2", "3", "4")),
        (classes().astype(np.float64)[:, None], ("0", "1", "2", "3")),
        (np.where(classes() > 1, 1, -1), ("-1", "1")),
        (np.array(["cat", "ant", "bee", "dog"])[classes()], ("ant", "bee", "cat", "dog")),
        (np.eye(4)[classes()], ("0", "1", "2", "3")),
        (classes(k=2) > 0, ("0", "1")),
    ],
)
def test_labels_become_class_numbers(y: np.ndarray, names: tuple[str, ...]) -> None:
    data = load_data((np.arange(40.0)[:, None] + np.zeros(5), y))
    assert data.kind == "classes" and data.labels == names and data.n_outputs == len(names)
    for arrays in (data.train, data.valid, data.test):
        raw = y[arrays.index]
        raw = raw.argmax(1) if raw.ndim == 2 and raw.shape[1] > 1 else raw.reshape(-1)
        raw = raw if raw.dtype.kind == "U" else raw.astype(int)
        assert np.array(names)[arrays.targets].tolist() == raw.astype(str).tolist()


def test_kinds_that_are_not_classes() -> None:
    x = rng().standard_normal((40, 3, 8, 9))
    labels = rng().integers(0, 2, (40, 5))
    assert load_data((x, labels)).kind == "multilabel"
    assert load_data((x, np.eye(5)[classes(k=5)]), kind="multilabel").kind == "multilabel"
    vector = load_data((x, rng().random(40)))
    assert (vector.kind, vector.target_shape, vector.n_outputs) == ("dense", (1,), 1)
    ages = load_data((x, np.arange(40) * 3), kind="dense")
    assert next(iter(ages.loader("test", 2)))[1].dtype == torch.float32


@pytest.mark.parametrize("shape", [(8, 9), (1, 8, 9), (8, 9, 1)])
def test_dense_targets_get_their_channel_axis_first(shape: tuple[int, ...]) -> None:
    y = rng().random((40, *shape))
    data = load_data((rng().random((40, 3, 8, 9)), y))
    assert data.target_shape == (1, 8, 9)
    torch.testing.assert_close(data.train[3][1], torch.from_numpy(y[data.train.index[3]]).reshape(1, 8, 9).float())


def test_units_of_a_number_that_no_row_has_are_its_own() -> None:
    y = np.column_stack([np.arange(40.0), np.full(40, np.nan)])
    units = Normalisation.fit_targets(load_data((rng().random((40, 3, 8)), y)).train)
    assert (units.mean[1], units.std[1]) == (0, 1) and units.std[0] > 1


def test_dense_targets_that_could_be_either_have_their_channels_first() -> None:
    y = rng().random((40, 8, 8, 8))
    data = load_data((rng().random((40, 3, 8, 8)), y))
    torch.testing.assert_close(data.train[3][1], torch.from_numpy(y[data.train.index[3]]).float())


def test_normalisation_is_fitted_on_train_alone() -> None:
    x = rng().normal([[[3.0]], [[-1e4]]], [[[2.0]], [[5.0]]], (60, 2, 1, 50))[:, :, 0]
    arrays = {"x_train": x[:40], "y_train": classes(40), "x_valid": x[40:], "y_valid": classes(20)}
    arrays |= {"x_test": x[:20] * 100, "y_test": classes(20)}
    data = load_data(arrays)
    np.testing.assert_allclose(data.normalisation.mean, x[:40].mean((0, 2)), rtol=1e-6)
    np.testing.assert_allclose(data.normalisation.std, x[:40].std((0, 2)), rtol=1e-3)
    seen = torch.cat([batch for batch, _ in data.loader("train", 16)])
    torch.testing.assert_close(seen.mean((0, 2)), torch.zeros(2), atol=1e-3, rtol=0)
    kept = load_data(arrays, normalise=Normalisation.from_dict(data.normalisation.to_dict()))
    assert kept.normalisation == data.normalisation


def test_normalisation_merges_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    x = rng().normal(size=(50, 3, 20)) * np.arange(1, 51)[:, None, None]
    whole = load_data((x, classes(50))).normalisation
    monkeypatch.setattr("dashfx.data.base.CHUNK_ELEMENTS", 7 * 60)
    pieces = load_data((x, classes(50))).normalisation
    np.testing.assert_allclose(pieces.mean, whole.mean, atol=1e-6)
    np.testing.assert_allclose(pieces.std, whole.std, rtol=1e-9)


def test_constant_channel_is_not_blown_up() -> None:
    x = np.stack([np.full((40, 9), 0.1), rng().random((40, 9))], axis=1).astype(np.float32)
    assert load_data((x, classes())).normalisation.std[0] == 1.0


def test_limit_and_normalise_off() -> None:
    data = load_data((rng().random((100, 6)), classes(100)), limit=10, normalise=False)
    assert (len(data.train), len(data.valid), len(data.test)) == (10, 10, 10)
    assert data.normalisation == Normalisation.none(1)


def test_loader_shuffles_by_its_seed_alone() -> None:
    data = load_data((np.arange(100.0)[:, None] + np.zeros(5), classes(100)), normalise=False)

    def order(seed: int | None, fraction: float = 1.0) -> list[float]:
        return [v for x, _ in data.loader("train", 16, seed=seed, fraction=fraction) for v in x[:, 0, 0].tolist()]

    state = torch.get_rng_state()
    plain, first, again, other = order(None), order(5), order(5), order(6)
    assert torch.equal(torch.get_rng_state(), state)  # the global generator is left alone
    assert plain == sorted(plain) and first == again != other and sorted(first) == plain
    fresh, fresh_again, fresh_other = order(5, 0.2), order(5, 0.2), order(6, 0.2)
    assert fresh == fresh_again and len(set(fresh)) == round(0.2 * len(plain))
    assert set(fresh) != set(fresh_other)


def test_drop_last_never_drops_everything() -> None:
    data = load_data((rng().random((100, 6)), classes(100)))  # 64 rows to train on
    assert [len(x) for x, _ in data.loader("train", 60, drop_last=True)] == [60]
    assert [len(x) for x, _ in data.loader("train", 1000, drop_last=True)] == [64]


def test_loader_refuses_a_subset_without_a_seed() -> None:
    data = load_data((rng().random((40, 6)), classes()))
    with pytest.raises(ValueError, match="seed"):
        data.loader("train", 8, fraction=0.5)


@pytest.mark.parametrize("compressed", [False, True])
def test_npz(tmp_path: Path, compressed: bool) -> None:
    x = rng().random((40, 3, 6))
    save = np.savez_compressed if compressed else np.savez
    save(tmp_path / "set.npz", x=x, y=classes(), extra=np.zeros(3))
    arrays = read_npz(tmp_path / "set.npz")
    assert isinstance(arrays["x"], np.memmap) is not compressed
    np.testing.assert_array_equal(arrays["x"], x)
    data = load_data(tmp_path / "set.npz")
    assert data.name == "set" and "left unread: extra" in data.notes


def test_npz_in_fortran_order_and_with_text(tmp_path: Path) -> None:
    x = np.asfortranarray(rng().random((40, 3, 6)))
    np.savez(tmp_path / "set.npz", x=x, y=np.array(["a", "b"])[classes(k=2)])
    np.testing.assert_array_equal(read_npz(tmp_path / "set.npz")["x"], x)
    assert load_data(str(tmp_path / "set.npz")).labels == ("a", "b")


def test_train_and_test_files_joined(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=rng().random((40, 6)), y=classes())
    torch.save({"X": torch.rand(12, 6), "Y": torch.arange(12) % 4}, tmp_path / "b.pt")
    data = load_data(f"{tmp_path / 'a.npz'}+{tmp_path / 'b.pt'}")
    assert (len(data.train), len(data.valid), len(data.test)) == (32, 8, 12)


@pytest.mark.parametrize("as_tuple", [False, True])
def test_pt(tmp_path: Path, as_tuple: bool) -> None:
    x, y = torch.rand(40, 3, 6, dtype=torch.bfloat16), torch.arange(40) % 4
    torch.save((x, y) if as_tuple else {"x": x, "y": y}, tmp_path / "set.pt")
    data = load_data(tmp_path / "set.pt", normalise=False)
    torch.testing.assert_close(data.train[0][0], x[data.train.index[0]].float())


def paint(folder: Path, mode: str, size: tuple[int, int], n: int, level: int) -> None:
    folder.mkdir(parents=True)
    for i in range(n):
        Image.new(mode, size, level if mode == "L" else (level, 0, i)).save(folder / f"{i}.png")


def test_folder_of_images(tmp_path: Path) -> None:
    paint(tmp_path / "cat", "RGB", (7, 5), 10, 200)
    paint(tmp_path / "ant", "L", (7, 5), 10, 100)
    data = load_data(tmp_path, normalise=False)
    assert data.input_shape == (3, 5, 7) and data.labels == ("ant", "cat")
    x, y = next(iter(data.loader("valid", 10)))
    assert x[y == 0].unique().tolist() == pytest.approx([100 / 255])
    assert x[y == 1][:, 0].unique().tolist() == pytest.approx([200 / 255])


def test_folder_with_splits_and_grey_images(tmp_path: Path) -> None:
    for part, n in (("train", 6), ("val", 2), ("test", 3)):
        paint(tmp_path / part / "a", "L", (6, 6), n, 10)
        paint(tmp_path / part / "b", "L", (6, 6), n, 20)
    data = load_data(str(tmp_path))
    assert data.input_shape == (1, 6, 6) and (len(data.train), len(data.valid), len(data.test)) == (12, 4, 6)


def test_factory(tmp_path: Path) -> None:
    (tmp_path / "neighbour_of_mine.py").write_text("N = 40\n")
    (tmp_path / "mine.py").write_text(
        "import numpy as np\nfrom neighbour_of_mine import N\n"
        "def arrays():\n    return {'x': np.random.default_rng(0).random((N, 6)), 'y': np.arange(N) % 4}\n"
        "def pair():\n    a = arrays()\n    return a['x'], a['y']\n"
        "def data():\n    from dashfx.data import load_data\n    return load_data(pair(), seed=9)\n"
    )
    for name in ("arrays", "pair", "data"):
        data = load_data(f"{tmp_path / 'mine.py'}:{name}")
        assert data.input_shape == (1, 6) and data.n_outputs == 4
    assert "seed 9" in data.notes[-1]
    assert load_data(data) is data


def test_pairs_of_arrays() -> None:
    pair = (rng().random((40, 6)), classes())
    data = load_data((pair, (rng().random((8, 6)), classes(8))))
    assert (len(data.train), len(data.test)) == (32, 8)


def test_positions_are_normalised_each_by_itself_and_coordinates_survive() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(loc=np.arange(6) * 10, scale=np.arange(1, 7), size=(40, 2, 6))
    x[:, 1] = np.arange(6)  # a channel of coordinates: the same in every row
    data = load_data((x, np.arange(40) % 2), normalise="positions")
    seen = data.train.__getitems__(list(range(len(data.train))))[0]
    torch.testing.assert_close(seen[:, 0].mean(0), torch.zeros(6), atol=1e-5, rtol=0)
    torch.testing.assert_close(seen[:, 0].std(0, unbiased=False), torch.ones(6), atol=1e-5, rtol=0)
    np.testing.assert_allclose(seen[0, 1], (np.arange(6) - 2.5) / np.std(np.arange(6)), rtol=1e-5)
    kept = Normalisation.from_dict(json.loads(json.dumps(data.normalisation.to_dict())))
    assert kept == data.normalisation and kept.channels == 2
    torch.testing.assert_close(kept.undo(kept.apply(seen)), seen, atol=1e-4, rtol=1e-4)
    with pytest.raises(DataError, match=r"positions \(6,\), the data has \(5,\)"):
        load_data((x[..., :5], np.arange(40) % 2), normalise=kept)


@pytest.mark.parametrize(
    ("y", "kind", "outputs"),
    [
        (np.arange(320).reshape(40, 8) % 3, "dense-classes", (3, 8)),
        (np.arange(320).reshape(40, 1, 8) % 3, "dense-classes", (3, 8)),
        (np.where(np.arange(320).reshape(40, 8) % 5, 1, 255).astype(np.uint8) - 0, "dense-classes", (2, 8)),
        (np.arange(640).reshape(40, 2, 8) % 2, "multilabel", (2, 8)),
        (np.arange(320).reshape(40, 8) % 2.5, "dense", (1, 8)),
        (np.where(np.arange(80).reshape(40, 2) % 7, 1.0, np.nan), "multilabel", (2,)),
    ],
)
def test_targets_at_every_position(y: np.ndarray, kind: str, outputs: tuple[int, ...]) -> None:
    data = load_data((np.random.default_rng(0).random((40, 2, 8)), y))
    assert data.kind == kind and data.output_shape == outputs


def test_classes_at_every_position_ignore_255_and_what_is_below_0() -> None:
    y = np.arange(320).reshape(40, 8) % 3
    for marked in (np.where(y == 2, 255, y).astype(np.uint8), np.where(y == 2, -1, y).astype(np.int16)):
        data = load_data((np.ones((40, 2, 8)), marked))
        seen = data.train.__getitems__(list(range(len(data.train))))[1]
        assert data.n_outputs == 2 and set(seen.unique().tolist()) == {IGNORED, 0, 1} and seen.dtype == torch.int64
        assert data.train.class_counts(2).tolist() == [int((seen == c).sum()) for c in (0, 1)]


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        (lambda x: x * 1e-5, np.float32),
        (lambda x: x * 1e-13, np.float32),
        (lambda x: x * 1e-21, np.float64),
        (lambda x: 5e4 + x * 1e-3, np.float64),
        (lambda x: 1.7e9 + x * 10, np.float64),
        (lambda x: 1_700_000_000 + x * 1000, np.int64),
    ],
)
@pytest.mark.parametrize("how", [True, "positions"])
def test_units_and_offsets_do_not_matter(values: Callable[..., np.ndarray], dtype: type, how: bool | str) -> None:
    x = values(rng().normal(size=(40, 3, 64))).astype(dtype)
    data = load_data((x, classes()), normalise=how)  # type: ignore[arg-type]
    seen = torch.cat([batch for batch, _ in data.loader("train", 64)])
    assert seen.dtype == torch.float32
    torch.testing.assert_close(
        seen.std((0, 2) if how is True else 0, unbiased=False).mean(), torch.tensor(1.0), atol=0.01, rtol=0
    )
    torch.testing.assert_close(seen.mean((0, 2)), torch.zeros(3), atol=1e-3, rtol=0)
    again = load_data(
        (x, classes()), normalise=Normalisation.from_dict(json.loads(json.dumps(data.normalisation.to_dict())))
    )
    torch.testing.assert_close(torch.cat([batch for batch, _ in again.loader("train", 64)]), seen, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("offset", [0.1, 1e-9, 1e9])
def test_constant_channels_are_constant_in_any_unit(offset: float) -> None:
    x = np.stack([np.full((40, 9), offset), rng().random((40, 9))], axis=1)
    for dtype in (np.float32, np.float64):
        assert load_data((x.astype(dtype), classes())).normalisation.std[0] == 1.0


def test_a_named_set_does_not_hide_what_lies_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        paint(tmp_path / "digits" / name, "L", (6, 6), 10, 10)
    with pytest.raises(DataError, match=r"write \./digits for yours, or digits: for the set"):
        load_data("digits")
    assert load_data("./digits").labels == load_data(tmp_path / "digits").labels == ("a", "b")
    assert load_data("digits:").n_outputs == 10


@pytest.mark.parametrize(
    ("shape", "layout", "expected"),
    [
        ((40, 30, 6), "last", (6, 30)),
        ((40, 30, 6), "first", (30, 6)),
        ((40, 30, 6), "none", (1, 30, 6)),
        ((40, 8, 9, 12), "last", (12, 8, 9)),
        ((40, 8, 9, 3), "first", (8, 9, 3)),
        ((40, 4, 5, 6), "none", (1, 4, 5, 6)),
    ],
)
def test_layout_as_it_is_said(shape: tuple[int, ...], layout: Any, expected: tuple[int, ...]) -> None:
    x = rng().random(shape)
    data = load_data((x, classes()), normalise=False, reading=Reading(layout=layout))
    assert data.input_shape == expected and data.reading.layout == layout
    moved = {"first": x, "last": np.moveaxis(x, -1, 1), "none": x[:, None]}[layout]
    torch.testing.assert_close(data.train[3][0], torch.from_numpy(moved[data.train.index[3]]).float())
    assert any(f"reading.layout={layout}" in note for note in data.notes)


def test_windows_are_cut_along_time_where_channels_are_last() -> None:
    data = load_data((rng().random((20, 50, 3)), classes(20)), reading=Reading(layout="last", window=10))
    assert data.input_shape == (3, 10) and sum(len(data.part(part)) for part in ("train", "valid", "test")) == 100
