"""Folders of images by class: names of parts, what is turned, resized, left out or refused, and groups of files."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dashfx.data import Data, load_data
from dashfx.data.reading import Reading
from dashfx.errors import DataError

RNG = np.random.default_rng(0)
PARTS = ("train", "valid", "test")


def paint(path: Path, size: tuple[int, int] = (8, 8), mode: str = "RGB", **options: Any) -> Path:
    """An image, `size` wide and high, of its own colours."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(RNG.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)).convert(mode)
    image.save(path, **options)
    return path


def classes(root: Path, n: int = 6, names: tuple[str, ...] = ("cat", "dog"), **options: Any) -> Path:
    for name in names:
        for i in range(n):
            paint(root / name / f"{i}.png", **options)
    return root


def said(data: Data, *words: str) -> bool:
    return any(all(word in note for word in words) for note in data.notes)


def refuse(spec: Any, *words: str, **reading: Any) -> None:
    with pytest.raises(DataError) as caught:
        load_data(spec, reading=Reading(**reading))
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("names", "rows"),
    [
        (("train", "validation", "test"), (12, 12, 12)),
        (("Train", "Dev", "TESTING"), (12, 12, 12)),
        (("Training", "Testing"), (10, 2, 12)),
        (("train", "val", "test", "samples"), (12, 12, 12)),
    ],
)
def test_folders_of_parts_are_no_classes(tmp_path: Path, names: tuple[str, ...], rows: tuple[int, ...]) -> None:
    for name in names:
        classes(tmp_path / name)
    data = load_data(tmp_path)
    assert data.labels == ("cat", "dog") and tuple(len(data.part(part)) for part in PARTS) == rows
    assert said(data, "left unread", "samples") == ("samples" in names)


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    assert load_data(classes(tmp_path, names=("car", "train", "test"))).labels == ("car", "test", "train")


def test_parts_that_cannot_be_told_are_refused(tmp_path: Path) -> None:
    for name in ("train", "val", "validation"):
        classes(tmp_path / "twice" / name)
    refuse(tmp_path / "twice", "'val'", "'validation'", "valid")
    classes(tmp_path / "beside")
    classes(tmp_path / "beside" / "test")
    refuse(tmp_path / "beside", "test holds a part", "cat, dog")
    classes(tmp_path / "alone" / "test")
    refuse(tmp_path / "alone", "no arrays to train on", "test alone")


def test_orientation_is_applied_and_said(tmp_path: Path) -> None:
    classes(tmp_path, size=(12, 8))
    exif = Image.Exif()
    exif[0x0112] = 6  # stored 8 wide and 12 high, shown 12 wide and 8 high
    stored = RNG.integers(0, 256, (12, 8, 3), dtype=np.uint8)
    Image.fromarray(stored).save(tmp_path / "cat" / "0.png", exif=exif)
    data = load_data(tmp_path, normalise=False)
    assert data.input_shape == (3, 8, 12) and said(data, "1 turned upright", "EXIF")
    part = next(part for part in (data.train, data.valid, data.test) if 0 in part.index)
    np.testing.assert_array_equal(part.x[0], np.rot90(stored, -1).transpose(2, 0, 1))


def test_what_is_lost_is_said(tmp_path: Path) -> None:
    classes(tmp_path)
    paint(tmp_path / "cat" / "a.png", mode="RGBA")
    paint(tmp_path / "cat" / "b.tif", save_all=True, append_images=[Image.new("RGB", (8, 8))])
    for name in ("cat/.ipynb_checkpoints/0.png", "cat/._0.png", ".ipynb_checkpoints/x.png"):
        paint(tmp_path / name)
    for name in ("a.heic", "b.heic", "notes.txt"):
        (tmp_path / "dog" / name).write_bytes(b"?")
    data = load_data(tmp_path)
    assert data.labels == ("cat", "dog") and sum(len(data.part(part)) for part in PARTS) == 14
    assert said(data, "1 have a transparency channel") and said(data, "1 have several pages")
    assert said(data, "left unread", "2 of .heic", "1 of .txt") and said(data, "left unread: 3 hidden files")


def test_grey_with_alpha_stays_grey(tmp_path: Path) -> None:
    assert load_data(classes(tmp_path, mode="LA")).channels == ("grey",)


def test_sixteen_bits_are_refused_in_colour_too(tmp_path: Path) -> None:
    classes(tmp_path)
    deep = png(2, RNG.integers(0, 2**16, (8, 8, 3)))
    (tmp_path / "cat" / "0.png").write_bytes(deep)
    refuse(tmp_path, "0.png", "more than 8 bits")


def png(colour: int, values: np.ndarray) -> bytes:
    """A 16-bit PNG, which Pillow reads but does not write."""
    import struct
    import zlib

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    head = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, colour, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("fit", [None, "crop", "pad"])
def test_images_of_mixed_sizes(tmp_path: Path, fit: Any) -> None:
    classes(tmp_path, size=(8, 8))
    Image.new("RGB", (20, 10), (255, 0, 0)).save(tmp_path / "cat" / "0.png")
    refuse(tmp_path, "8x8", "20x10", "reading.size=224")
    data = load_data(tmp_path, normalise=False, reading=Reading(size=10, fit=fit))
    assert data.input_shape == (3, 10, 10) and said(data, "12 of 8x8 to 20x10", "to 10x10")
    red = next(part.x[0, 0] for part in (data.train, data.valid, data.test) if 0 in part.index)
    assert (red == 255).mean() == (0.5 if fit == "pad" else 1.0) and set(np.unique(red)) <= {0, 255}
    assert Reading.from_json(data.reading.to_json()) == data.reading
    wide = load_data(tmp_path, reading=Reading(size=(6, 12)))
    assert wide.input_shape == (3, 6, 12)


@pytest.mark.parametrize("table", [False, True])
def test_groups_of_files_are_not_split(tmp_path: Path, table: bool) -> None:
    patients = {}
    for i in range(40):
        path = paint(tmp_path / "x" / ("cat" if i % 2 else "dog") / f"p{i // 4}_{i}.png")
        patients[f"{path.parent.name}/{path.name}"] = i // 4
    (tmp_path / "who.csv").write_text("\ufefffile,patient\n" + "".join(f"{f},{p}\n" for f, p in patients.items()))
    said_so = str(tmp_path / "who.csv") if table else r"p(\d+)_"
    data = load_data(tmp_path / "x", reading=Reading(groups=said_so))
    seen = [set(data.part(part).groups.tolist()) for part in PARTS]  # type: ignore[union-attr]
    assert not seen[0] & seen[1] and not seen[0] & seen[2] and not seen[1] & seen[2]
    assert sum(map(len, seen)) == 10 and said(data, "groups: 10")
    assert said(data, "test: 20% of train, by group, stratified")


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        ("(", "no regular expression"),
        (r"p\d+", "no bracket"),
        (r"(q\d+)", "does not fit cat/0.png"),
        ("none.csv", "no such file"),
    ],
)
def test_groups_that_cannot_be_told(tmp_path: Path, groups: str, words: str) -> None:
    refuse(classes(tmp_path), words, groups=groups)


def test_a_table_of_groups_names_each_file(tmp_path: Path) -> None:
    classes(tmp_path / "x")
    (tmp_path / "who.tsv").write_text("0.png\ta\n")
    refuse(tmp_path / "x", "no line for cat/1.png", groups=str(tmp_path / "who.tsv"))
    (tmp_path / "who.tsv").write_text("0.png\n")
    refuse(tmp_path / "x", "line 1 has no group", groups=str(tmp_path / "who.tsv"))
