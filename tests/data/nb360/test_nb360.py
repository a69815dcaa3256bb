"""Readers of the benchmark's files, on small files of the published layout that are written here."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from scipy.io import savemat

from dashfx.config.presets import PRESETS
from dashfx.data import Data, load_data
from dashfx.data.nb360 import READERS
from dashfx.data.nb360.files import PUBLISHED
from dashfx.data.nb360.spherical import on_spheres, rotations
from dashfx.errors import DataError

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def write_cifar(folder: Path) -> None:
    (folder / "cifar-100-binary").mkdir()
    for part, rows in (("train", 300), ("test", 100)):
        table = RNG.integers(0, 256, (rows, 3074), dtype=np.uint8)
        table[:, 0], table[:, 1] = 7, np.arange(rows) % 100
        table.tofile(folder / "cifar-100-binary" / f"{part}.bin")


def write_ninapro(folder: Path) -> None:
    for part, rows in (("train", 60), ("val", 20), ("test", 20)):
        np.save(folder / f"ninapro_{part}.npy", RNG.standard_normal((rows, 52, 16)))
        np.save(folder / f"label_{part}.npy", (np.arange(rows) % 18).astype(np.int64))


def write_fsd50k(folder: Path) -> None:
    (folder / "data" / "chunks").mkdir(parents=True)
    labels = {f"sound{i}": i for i in range(200)}
    (folder / "data" / "lbl_map.json").write_text(json.dumps(labels))
    for part in ("tr", "val", "eval"):
        with open(folder / "data" / f"{part}.csv", "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["files", "labels", "ext"])
            for row in range(3):
                samples = 22050 if row else 9000
                name = f"{part}_{row}.wav"
                soundfile.write(folder / "data" / "chunks" / name, RNG.uniform(-0.5, 0.5, samples), 22050)
                writer.writerow([f"/their/disk/{name}", f"sound{row},sound199", f"{row}"])


def write_darcy(folder: Path) -> None:
    for number, rows in ((1, 6), (2, 3)):
        fields = np.where(RNG.random((rows, 421, 421)) > 0.5, 12.0, 3.0)
        savemat(folder / f"piececonst_r421_N1024_smooth{number}.mat", {"coeff": fields, "sol": 0.01 * fields})


LENGTHS = (40, 150)


def write_psicov(folder: Path) -> None:
    for part, rows in (("deepcov", 4), ("psicov", 2)):
        names = [f"{part}{row}" for row in range(rows)]
        (folder / f"{part}.lst").write_text("".join(f"{name} 1\n" for name in names))
        for kind in ("features", "distance"):
            (folder / part / kind).mkdir(parents=True)
        for row, name in enumerate(names):
            n = LENGTHS[row % 2]
            shapes = {"ss": (3, n), "pssm": (n, 22), "sa": (n,), "entropy": (n,)}
            shapes |= dict.fromkeys(("ccmpred", "freecon", "potential"), (n, n))
            arrays = {key: RNG.standard_normal(shape) for key, shape in shapes.items()}
            np.savez(folder / part / "features" / f"{name}.npz", seq=np.array("A" * n), **arrays)
            np.savez(folder / part / "distance" / f"{name}-cb.npz", cb=RNG.uniform(0, 40, (n, n)))


def write_cosmic(folder: Path) -> None:
    for part, rows in (("npy_train", 5), ("npy_test", 2)):
        place = folder / part / "f435w" / "10760" / "2"
        place.mkdir(parents=True)
        for row in range(rows):
            planes = RNG.random((3, 256, 256)).astype(np.float32)
            planes[1:] = planes[1:] > 0.9
            np.save(place / f"1_{row}.npy", planes)
        np.save(place / "sky.npy", np.ones(3))
        cluster = folder / part / "f435w" / "10595" / "2"
        cluster.mkdir(parents=True)
        np.save(cluster / "1_0.npy", np.zeros((3, 256, 256)))


def write_ecg(folder: Path) -> None:
    place = folder / "training2017"
    place.mkdir()
    with open(place / "REFERENCE.csv", "w", newline="") as file:
        for row in range(80):
            name, kind = f"A{row:05d}", "NAO~"[row % 4]
            tone = np.sin(2 * np.pi * (row + 5) * np.arange(1100 + 10 * row) / 1000)
            savemat(place / f"{name}.mat", {"val": (900 * tone[None]).astype(np.int16)})
            csv.writer(file).writerow([name, kind])


def write_satellite(folder: Path) -> None:
    for part, rows in (("train", 240), ("test", 48)):
        data, label = RNG.normal(500, 100, (rows, 46)), np.arange(rows) % 24 + 1
        np.savez(folder / f"satellite_{part}.npz", data=data, label=label)


def write_deepsea(folder: Path) -> None:
    arrays: dict[str, Any] = {}
    for part, rows in (("train", 30), ("val", 10), ("test", 10)):
        arrays[f"x_{part}"] = np.eye(4, dtype=np.uint8)[RNG.integers(0, 4, (rows, 1000))]
        arrays[f"y_{part}"] = RNG.integers(0, 2, (rows, 36))
    np.savez_compressed(folder / "deepsea_filtered.npz", **arrays)


WRITERS = {
    "cifar100": write_cifar,
    "spherical": write_cifar,
    "ninapro": write_ninapro,
    "fsd50k": write_fsd50k,
    "darcy": write_darcy,
    "psicov": write_psicov,
    "cosmic": write_cosmic,
    "ecg": write_ecg,
    "satellite": write_satellite,
    "deepsea": write_deepsea,
}


def read(name: str, folder: Path) -> Data:
    WRITERS[name](folder)
    preset = PRESETS[name]
    return load_data(f"{name}:{folder}", kind=preset.kind)


def test_every_task_has_a_preset_a_reader_and_a_place_where_it_is_published() -> None:
    assert set(PRESETS) == set(READERS) == set(PUBLISHED) == set(WRITERS)


@pytest.mark.parametrize("name", [n for n in WRITERS if n != "psicov"])
def test_published_files_give_what_the_preset_expects(name: str, tmp_path: Path) -> None:
    data, preset = read(name, tmp_path), PRESETS[name]
    assert preset.check(data.name, data.input_shape, data.kind, data.n_outputs) is None
    x, y = data.train[0]
    assert x.shape == preset.shape and bool(x.isfinite().all()) and y.shape == data.target_shape
    assert len({id(data.part(part)) for part in ("train", "valid", "test")}) == 3


def test_proteins_are_cut_and_padded_to_windows(tmp_path: Path) -> None:
    write_psicov(tmp_path)
    source = READERS["psicov"](str(tmp_path))
    x, y = source.parts["train"]
    assert x.shape == (2, 57, 128, 128) and y.shape == (2, 1, 128, 128)
    assert np.isfinite(y[0, 0, :40, :40]).all() and np.isnan(y[0, 0, 40:]).all() and (x[0, :, 40:] == 0).all()
    assert np.isfinite(y[1]).all() and y[1].max() == 16
    with np.load(tmp_path / "deepcov" / "features" / "deepcov1.npz") as held:
        middle = slice(11, 139)
        np.testing.assert_allclose(x[1, 0, 5], held["ss"][0, middle], atol=1e-2)  # along the columns
        np.testing.assert_allclose(x[1, 1, :, 5], held["ss"][0, middle], atol=1e-2)  # along the rows
        np.testing.assert_allclose(x[1, 6, 5], held["pssm"][middle, 0], atol=1e-2)
        np.testing.assert_allclose(x[1, 54], held["ccmpred"][middle, middle], atol=1e-2)


def test_ecg_windows_do_not_share_records(tmp_path: Path) -> None:
    write_ecg(tmp_path)
    parts = READERS["ecg"](str(tmp_path)).parts
    records = {part: set(np.abs(np.fft.rfft(x[:, 0])).argmax(1) - 5) for part, (x, _) in parts.items()}
    assert sorted(row for rows in records.values() for row in rows) == list(range(80))  # every one in one part only
    assert len(records["test"]) == len(records["valid"]) == 8
    assert all(set(y) == {0, 1, 2, 3} for _, y in parts.values())
    _, y = parts["train"]
    assert np.bincount(y)[3] > 5 * np.bincount(y)[0]  # noise is cut every 25 samples, normal rhythm every 500


def test_ignored_pixels_of_cosmic_are_nan_and_clusters_left_out(tmp_path: Path) -> None:
    write_cosmic(tmp_path)
    x, y = READERS["cosmic"](str(tmp_path)).parts["train"]
    planes = np.load(tmp_path / "npy_train" / "f435w" / "10760" / "2" / "1_0.npy")[:, 64:192, 64:192]
    assert len(x) == 5
    np.testing.assert_array_equal(x[0, 0], planes[0])
    np.testing.assert_array_equal(np.isnan(y[0, 0]), planes[2] == 1)
    assert set(np.unique(y[~np.isnan(y)])) == {0, 1}


def test_cifar_keeps_its_planes_and_fine_labels(tmp_path: Path) -> None:
    write_cifar(tmp_path)
    x, y = READERS["cifar100"](str(tmp_path)).parts["train"]
    raw = (tmp_path / "cifar-100-binary" / "train.bin").read_bytes()[3074 * 3 : 3074 * 4]
    assert x[3, 1, 2, 5] == raw[2 + 1024 + 2 * 32 + 5] and y[3] == 3


def test_an_unturned_sphere_shows_the_image_around_its_north_pole() -> None:
    image = np.full((1, 1, 32, 32), 9, np.uint8)
    image[0, 0, :, 16:] = 200  # bright where x > 0
    sphere = on_spheres(image, np.eye(3)[None])[0, 0]
    assert (sphere[5:29, :10] == 200).all() and (sphere[5:29, 20:40] == 9).all()  # around 0 and 180 degrees
    assert (sphere[50:] == 0).all()  # the far side
    upper = on_spheres(image.transpose(0, 1, 3, 2)[:, :, ::-1], np.eye(3)[None])[0, 0]  # bright in its upper half
    assert (upper[5:29, 5:25] == 200).all() and (upper[5:29, 35:55] == 9).all()  # around 90 and 270 degrees
    turned = on_spheres(image, np.diag([1.0, -1.0, -1.0])[None])[0, 0]  # upside down, about the x axis
    assert (turned[:10] == 0).all() and (turned[31:55, :10] == 200).all()
    assert sphere[29, 30] == 9 and sphere[36, 15] == 0  # past the disc only the square's corners are seen
    corner = on_spheres(image, np.eye(3)[None], side=240)[0, 0][130, 30]
    assert corner == 200


def test_rotations_are_rotations() -> None:
    turned = rotations(200, np.random.default_rng(0))
    np.testing.assert_allclose(turned @ turned.transpose(0, 2, 1), np.broadcast_to(np.eye(3), (200, 3, 3)), atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(turned), 1)
    assert np.abs(turned.mean(0)).max() < 0.15  # no direction is preferred


@pytest.mark.parametrize("name", WRITERS)
def test_missing_files_are_named_with_the_place_to_get_them(name: str, tmp_path: Path) -> None:
    for spec, words in ((f"{name}:{tmp_path}", "lacks"), (f"{name}:", f"--data {name}:FOLDER")):
        if spec == "darcy:":
            continue  # darcy is generated then
        with pytest.raises(DataError) as caught:
            load_data(spec)
        message = str(caught.value)
        assert words in message and "https://" in message and "\n" not in message and PUBLISHED[name][0] in message


@pytest.mark.parametrize(
    ("name", "file", "content", "words"),
    [
        ("cifar100", "cifar-100-binary/train.bin", b"123", "multiple of 3074"),
        ("ninapro", "ninapro_val.npy", np.array([{}], dtype=object), "no plain array"),
        ("ninapro", "ninapro_val.npy", np.zeros((20, 5)), "(N, 52, 16)"),
        ("satellite", "satellite_test.npz", b"PK", "not a readable .npz"),
        ("ecg", "training2017/A00003.mat", b"noise", "no arrays 'val'"),
        ("ecg", "training2017/A00003.mat", None, "lacks A00003.mat"),
        ("ecg", "training2017/REFERENCE.csv", b"A00000,X\n", "one of N, A, O, ~"),
        ("darcy", "piececonst_r421_N1024_smooth2.mat", b"noise", "no arrays 'coeff', 'sol'"),
        ("cosmic", "npy_train/f435w/10760/2/1_3.npy", np.zeros((2, 3)), "an ignore mask"),
        ("psicov", "deepcov/features/deepcov0.npz", None, "docs/reference/nas-bench-360.md"),
        ("fsd50k", "data/chunks/val_1.wav", None, "no clip val_1.wav"),
        ("fsd50k", "data/val.csv", b"files,labels\na.wav,\n", "lacks its 'files' or 'labels'"),
    ],
)
def test_files_that_are_not_as_published(name: str, file: str, content: Any, words: str, tmp_path: Path) -> None:
    WRITERS[name](tmp_path)
    path = tmp_path / file
    path.unlink()
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        np.save(path, content)
    with pytest.raises(DataError) as caught:
        load_data(f"{name}:{tmp_path}", kind=PRESETS[name].kind)
    assert words in str(caught.value) and "\n" not in str(caught.value)
