"""Folders of images and masks: pairs by name, class numbers of grey, palette and two-valued masks, what is ignored."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dashfx.data import load_data
from dashfx.data.base import IGNORED
from dashfx.data.reading import Reading
from dashfx.errors import DataError

RNG = np.random.default_rng(0)


def pairs(root: Path, values: list[int], *, n: int = 10, mode: str = "L", tail: str = "") -> dict[str, np.ndarray]:
    masks = {}
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for i in range(n):
        masks[str(i)] = mask = RNG.choice(values, (6, 7)).astype(np.uint8)
        Image.fromarray(RNG.integers(0, 256, (6, 7, 3), dtype=np.uint8)).save(root / "images" / f"{i}.jpg")
        image = Image.fromarray(mask)
        if mode == "P":
            image = Image.fromarray(mask).convert("P")
            image.putpalette([*RNG.integers(0, 256, 768).tolist()])
            image.putdata(mask.ravel().tolist())
        image.convert(mode).save(root / "masks" / f"{i}{tail}.png")
    return masks


def seen(data: Any) -> dict[str, np.ndarray]:
    names = sorted(map(str, range(10)))
    parts = (data.train, data.valid, data.test)
    return {names[i]: part[k][1].numpy() for part in parts for k, i in enumerate(part.index)}


@pytest.mark.parametrize(("mode", "tail"), [("L", ""), ("P", "_mask"), ("RGB", "-label")])
def test_class_numbers_by_name(tmp_path: Path, mode: str, tail: str) -> None:
    masks = pairs(tmp_path, [0, 1, 2, 255], mode=mode, tail=tail)
    (tmp_path / "classes.txt").write_text("sky\ntree\nroad\n")
    data = load_data(tmp_path)
    assert data.kind == "dense-classes" and data.output_shape == (3, 6, 7) and data.labels == ("sky", "tree", "road")
    for name, y in seen(data).items():
        np.testing.assert_array_equal(y, np.where(masks[name] == 255, IGNORED, masks[name].astype(int)))
    assert any("class numbers 0, 1, 2; 255 is ignored" in note for note in data.notes)


@pytest.mark.parametrize("mode", ["L", "1"])
def test_black_and_white_are_two_classes(tmp_path: Path, mode: str) -> None:
    masks = pairs(tmp_path, [0, 255], mode=mode)
    data = load_data(tmp_path)
    for name, y in seen(data).items():
        np.testing.assert_array_equal(y, masks[name] == 255)


def test_a_number_that_does_not_count(tmp_path: Path) -> None:
    masks = pairs(tmp_path, [0, 1, 2])
    data = load_data(tmp_path, reading=Reading(ignore=0))
    for name, y in seen(data).items():
        np.testing.assert_array_equal(y == IGNORED, masks[name] == 0)


def test_masks_are_resized_with_their_images_and_padding_counts_nowhere(tmp_path: Path) -> None:
    pairs(tmp_path, [0, 1, 2])
    data = load_data(tmp_path, reading=Reading(size=(8, 8), fit="pad"))
    assert data.input_shape == (3, 8, 8) and data.output_shape == (3, 8, 8)
    for y in seen(data).values():
        assert set(np.unique(y)) <= {0, 1, 2, IGNORED} and (y == IGNORED).any()


@pytest.mark.parametrize("inner", [False, True])
def test_parts(tmp_path: Path, inner: bool) -> None:
    for part, n in (("train", 6), ("Validation", 3), ("test", 2)):
        pairs(tmp_path / "in" / part, [0, 1], n=n)
        for kind in ("images", "masks"):
            (tmp_path / "out" / kind).mkdir(parents=True, exist_ok=True)
            (tmp_path / "out" / kind / part).symlink_to(tmp_path / "in" / part / kind)
    data = load_data(tmp_path / ("in" if inner else "out"))
    assert (len(data.train), len(data.valid), len(data.test)) == (6, 3, 2)


def test_bad_masks(tmp_path: Path) -> None:
    def refuse(*words: str, **reading: Any) -> None:
        with pytest.raises(DataError) as caught:
            load_data(tmp_path, reading=Reading(**reading))
        for word in words:
            assert word in str(caught.value) and "\n" not in str(caught.value)

    pairs(tmp_path, [0, 1])
    mask = tmp_path / "masks" / "3.png"
    Image.new("L", (5, 5)).save(mask)
    refuse("3.png", "(5, 5)")
    Image.fromarray(RNG.integers(0, 256, (6, 7, 3), dtype=np.uint8)).save(mask)
    refuse("3.png", "colours")
    Image.fromarray(np.full((6, 7), 120, np.uint8)).save(mask)
    refuse("grey levels", "0, 1, 120")
    mask.write_bytes(b"no mask")
    refuse("3.png", "not a readable mask")
    mask.unlink()
    refuse("3.jpg has no mask")
