"""A folder of images by class goes in; uint8 rows and the classes' names come out."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError

from dashfx.data.readers.folders import labelled_files, roots_of
from dashfx.data.readers.rows import Rows, held
from dashfx.data.source import Source
from dashfx.errors import DataError

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
GREY, DEEP = {"1", "L"}, {"I", "F"}


class ImageFiles(Rows):
    """uint8 (N, C, H, W) of files, decoded when asked for; C is 1 for mode "L" and 3 for "RGB"."""

    def __init__(self, paths: list[Path], mode: str, size: tuple[int, int]) -> None:
        super().__init__((len(paths), 1 if mode == "L" else 3, size[1], size[0]), np.uint8)
        self.paths, self.mode = paths, mode

    def row(self, number: int, generator: torch.Generator | None) -> np.ndarray:
        path = self.paths[number]
        return pixels(path, str(path), self.mode)


def read_folder(folder: Path) -> Source:
    """`folder/class/*.png`, or `folder/train/class/*.png` with optional `valid` (or `val`) and `test` beside `train`.

    Images are grey if all of them are, otherwise RGB. Where they are many they stay on the disk.

    Raises:
        DataError: no class folders, a class without images, a broken image, images of different sizes or of more
            than 8 bits a channel.
    """
    files = {part: labelled_files(root, SUFFIXES, "images") for part, root in roots_of(folder, "png").items()}
    mode, size = common_form((path, str(path)) for pairs in files.values() for path, _ in pairs)
    parts = {
        part: (held(ImageFiles([path for path, _ in pairs], mode, size)), np.array([name for _, name in pairs]))
        for part, pairs in files.items()
    }
    return Source(folder.name, parts, (f"images: {mode}, {size[0]} wide, {size[1]} high",))


def common_form(images: Iterable[tuple[Path | io.BytesIO, str]]) -> tuple[str, tuple[int, int]]:
    """The mode that holds all images, each with its name, and their one (width, height); only headers are read.

    Raises:
        DataError: not an image, different sizes, or more than 8 bits a channel.
    """
    grey, size, first = True, None, ""
    for file, name in images:
        mode, this = _header(file, name)
        size, first = size or this, first or name
        if this != size:
            raise DataError(
                f"{name} is {this[0]}x{this[1]}, {first} is {size[0]}x{size[1]}; bring all images to one size first"
            )
        grey = grey and mode in GREY
    assert size is not None  # there is at least one image
    return ("L" if grey else "RGB"), size


def pixels(file: Path | io.BytesIO, name: str, mode: str) -> np.ndarray:
    """uint8 (C, H, W).

    Raises:
        DataError: a damaged image.
    """
    try:
        with Image.open(file) as image:
            values = np.asarray(image.convert(mode))
    except (UnidentifiedImageError, OSError) as error:
        raise DataError(f"{name}: damaged image ({error}); remove or replace it") from None
    return values[None] if mode == "L" else values.transpose(2, 0, 1)


def _header(file: Path | io.BytesIO, name: str) -> tuple[str, tuple[int, int]]:
    try:
        with Image.open(file) as image:
            mode, size = image.mode, image.size
    except (UnidentifiedImageError, OSError) as error:
        raise DataError(f"{name}: not a readable image ({error}); remove or replace it") from None
    if mode.split(";")[0] in DEEP:
        raise DataError(f"{name}: mode {mode} has more than 8 bits a channel; convert it, or give arrays in .npz")
    return mode, size
