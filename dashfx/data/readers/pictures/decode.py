"""Decoding of image files: their form from headers, and uint8 pixels, upright and of the size that is asked for."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps
from PIL.TiffImagePlugin import TiffImageFile

from dashfx.data.readers.border import border
from dashfx.data.reading import Reading
from dashfx.errors import DataError
from dashfx.space import size_text

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
GREY, DEEP = {"1", "L", "LA", "La"}, {"I", "F"}
ALPHA = {"LA", "La", "PA", "RGBA", "RGBa"}
ORIENTATION, TURNED = 0x0112, {5, 6, 7, 8}  # of EXIF: those that swap width and height
SIZE = (0x0100, 0x0101)  # the tags of a TIFF's width and height
PROFILE = b"Raw profile type"  # how ImageMagick names EXIF that it keeps as text
PAGED = {"TIFF", "GIF", "WEBP", "PNG", "MPO"}
HOW = {"crop": "scaled and cropped to the middle", "pad": "scaled and padded with zeros"}  # else stretched
READABLE = "remove or replace it"

File = Path | io.BytesIO


@dataclass(frozen=True)
class Form:
    """What all images of a set are decoded to.

    Attributes:
        mode: "L" if all of them are grey, else "RGB".
        size: (height, width).
        notes: how many of them were turned, resized, or lost something on the way.
    """

    mode: str
    size: tuple[int, int]
    notes: tuple[str, ...]

    @property
    def shape(self) -> tuple[int, int, int]:
        return (1 if self.mode == "L" else 3, *self.size)

    def outside(self, reading: Reading) -> tuple[str, ...]:
        """What `as_pixels` does to a file, in words."""
        return decoded_to("grey" if self.mode == "L" else "RGB", reading)


def decoded_to(colours: str, reading: Reading) -> tuple[str, ...]:
    upright = f"images are decoded to {colours} and turned upright"
    return (
        (upright, f"they are {HOW.get(reading.fit or '', 'stretched')} to {_wide(reading.sides)}")
        if reading.sides
        else (upright,)
    )


def common_form(images: Iterable[tuple[File, str]], reading: Reading) -> Form:
    """The form that holds all images, each with its name; only headers are read.

    Raises:
        DataError: not an image, different sizes without `reading.size`, or more than 8 bits a channel.
    """
    heads = [(_head(file, name), name) for file, name in images]
    first, where = heads[0]
    for head, name in heads:
        if head.size != first.size and reading.sides is None:
            raise DataError(
                f"{name} is {_wide(head.size)}, {where} is {_wide(first.size)}; bring all images to one size first, or "
                "say reading.size=224 (with reading.fit=crop or pad to keep proportions)"
            )
    mode = "L" if all(head.mode in GREY for head, _ in heads) else "RGB"
    size = reading.sides or first.size
    counts = Counter(what for head, _ in heads for what in head.notes)
    notes = [f"images: {'grey' if mode == 'L' else 'RGB'}, {size[1]} wide, {size[0]} high"]
    if resized := sum(head.size != size for head, _ in heads):
        sizes = sorted({head.size for head, _ in heads})
        span = f"of {_wide(sizes[0])} to {_wide(sizes[-1])}" if len(sizes) > 1 else f"of {_wide(sizes[0])}"
        notes.append(f"images: {resized} {span} are {HOW.get(reading.fit or '', 'stretched')} to {_wide(size)}")
    return Form(mode, size, (*notes, *(f"images: {number} {what}" for what, number in sorted(counts.items()))))


def pixels(file: File, name: str, mode: str, reading: Reading) -> np.ndarray:
    """uint8 (C, H, W).

    Raises:
        DataError: a damaged image.
    """
    with border(name, "damaged image", READABLE), Image.open(file) as image:
        return as_pixels(image, mode, reading)


def as_pixels(image: Image.Image, mode: str, reading: Reading) -> np.ndarray:
    """uint8 (C, H, W) of an opened image: upright, as viewers show it, and of `reading`'s size."""
    upright = ImageOps.exif_transpose(image)
    values = np.asarray(resized(upright.convert(mode), reading, Image.Resampling.BILINEAR))
    return values[None] if mode == "L" else values.transpose(2, 0, 1)


def resized(image: Image.Image, reading: Reading, by: Image.Resampling, fill: int = 0) -> Image.Image:
    """The image at `reading`'s size; `fill` is what padding has."""
    if reading.sides is None or image.size == reading.sides[::-1]:
        return image
    height, width = reading.sides
    if reading.fit not in ("crop", "pad"):
        return image.resize((width, height), by)
    ratios = (width / image.width, height / image.height)
    ratio = max(ratios) if reading.fit == "crop" else min(ratios)
    scaled = image.resize((max(1, round(image.width * ratio)), max(1, round(image.height * ratio))), by)
    canvas = Image.new(image.mode, (width, height), fill if image.mode != "RGB" else (fill,) * 3)
    canvas.paste(scaled, ((width - scaled.width) // 2, (height - scaled.height) // 2))  # cuts what stands over
    return canvas


@dataclass(frozen=True)
class _Head:
    mode: str
    size: tuple[int, int]  # upright, (height, width)
    notes: tuple[str, ...]


def _head(file: File, name: str) -> _Head:
    with border(name, "not a readable image", READABLE), Image.open(file) as image:
        mode = image.mode
        deep = mode.split(";")[0] in DEEP or any(_deep(tile, image.format) for tile in image.tile)
        pages = getattr(image, "n_frames", 1) if image.format in PAGED else 1
        # Pillow gives the size of a TIFF as it is once it stands upright, of other files as they are stored.
        width, height = [image.tag_v2[tag] for tag in SIZE] if isinstance(image, TiffImageFile) else image.size
        turn = image.getexif().get(ORIENTATION, 1) if image.format != "PNG" or _tells(image.fp) else 1
        alpha = mode in ALPHA or "transparency" in image.info
    if deep:
        raise DataError(f"{name}: more than 8 bits a channel (mode {mode}); convert it, or give arrays in .npz")
    notes = (
        *(["turned upright as their EXIF orientation says"] if turn in range(2, 9) else []),
        *(["have a transparency channel, which is left out"] if alpha else []),
        *(["have several pages or frames, of which the first is read"] if pages > 1 else []),
    )
    return _Head(mode, (width, height) if turn in TURNED else (height, width), notes)


def _deep(tile: Any, form: str | None) -> bool:
    """Whether the pixels are stored in more than 8 bits a channel, whatever Pillow makes of them."""
    args = tile[3] if isinstance(tile[3], tuple) else (tile[3],)
    if tile[0] in ("ppm", "ppm_plain"):
        return int(args[1]) > 255  # the largest value
    return form != "BMP" and isinstance(args[0], str) and "16" in args[0]  # of a BMP, that is three channels in 16 bits


def _tells(png: Any) -> bool:
    """Whether a chunk may hold EXIF or XMP: to look for it behind the pixels, Pillow decodes them all."""
    here = png.tell()
    png.seek(8)
    found = False
    while not found and len(head := png.read(8)) == 8:
        found = head[4:] in (b"eXIf", b"iTXt", b"zTXt")
        start = png.tell()
        found = found or (head[4:] == b"tEXt" and png.read(len(PROFILE)) == PROFILE)
        png.seek(start + int.from_bytes(head[:4], "big") + 4)
    png.seek(here)
    return found


def _wide(size: tuple[int, int]) -> str:
    """Width by height, as image viewers say it."""
    return size_text(size[::-1])
