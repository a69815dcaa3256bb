"""A folder of images by class goes in; uint8 arrays and the classes' names come out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from dashfx.data.source import Pair, Source
from dashfx.errors import DataError

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
SPLITS = {"train": "train", "valid": "valid", "val": "valid", "test": "test"}
GREY, DEEP = {"1", "L"}, {"I", "F"}


def read_folder(folder: Path) -> Source:
    """`folder/class/*.png`, or `folder/train/class/*.png` with optional `valid` (or `val`) and `test` beside `train`.

    Images are grey if all of them are, otherwise RGB. They are held in memory, one byte a value.

    Raises:
        DataError: no class folders, a class without images, a broken image, images of different sizes or of more
            than 8 bits a channel.
    """
    children = _folders(folder)
    if not {child.name for child in children} <= set(SPLITS):
        roots = {"train": folder}
    else:
        roots = {SPLITS[child.name]: child for child in children}
    if "train" not in roots:
        raise DataError(f"{folder}: no class folders; expected {folder}/CLASS/*.png, or {folder}/train/CLASS/*.png")
    files = {part: _labelled_files(root) for part, root in roots.items()}
    mode, size = _common_form([path for pairs in files.values() for path, _ in pairs])
    parts = {part: _decode(pairs, mode, size) for part, pairs in files.items()}
    return Source(folder.name, parts, (f"images: {mode}, {size[0]} wide, {size[1]} high",))


def _folders(folder: Path) -> list[Path]:
    return sorted(child for child in folder.iterdir() if child.is_dir() and not child.name.startswith("."))


def _labelled_files(root: Path) -> list[tuple[Path, str]]:
    pairs: list[tuple[Path, str]] = []
    for folder in _folders(root):
        found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
        if not found:
            raise DataError(f"{folder}: the class has no images ({', '.join(sorted(SUFFIXES))}); add some or remove it")
        pairs += [(path, folder.name) for path in found]
    if not pairs:
        raise DataError(f"{root}: no class folders; expected {root}/CLASS/*.png")
    return pairs


def _common_form(paths: list[Path]) -> tuple[str, tuple[int, int]]:
    """The mode that holds all images, and their one (width, height); only headers are read."""
    grey, size, first = True, None, paths[0]
    for path in paths:
        try:
            with Image.open(path) as image:
                mode, this = image.mode, image.size
        except (UnidentifiedImageError, OSError) as error:
            raise DataError(f"{path}: not a readable image ({error}); remove or replace it") from None
        if mode.split(";")[0] in DEEP:
            raise DataError(f"{path}: mode {mode} has more than 8 bits a channel; convert it, or give arrays in .npz")
        size = size or this
        if this != size:
            raise DataError(
                f"{path} is {this[0]}x{this[1]}, {first} is {size[0]}x{size[1]}; bring all images to one size first"
            )
        grey = grey and mode in GREY
    assert size is not None  # there is at least one path
    return ("L" if grey else "RGB"), size


def _decode(pairs: list[tuple[Path, str]], mode: str, size: tuple[int, int]) -> Pair:
    channels = 1 if mode == "L" else 3
    x = np.empty((len(pairs), channels, size[1], size[0]), dtype=np.uint8)  # (N, C, H, W)
    for row, (path, _) in enumerate(pairs):
        try:
            with Image.open(path) as image:
                pixels = np.asarray(image.convert(mode))
        except OSError as error:
            raise DataError(f"{path}: damaged image ({error}); remove or replace it") from None
        x[row] = pixels if mode == "L" else pixels.transpose(2, 0, 1)
    return x, np.array([name for _, name in pairs])
