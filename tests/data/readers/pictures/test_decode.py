"""Decoding of image files: bits a channel as the file stores them, and the orientation that viewers apply."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from dashfx.data import load_data
from dashfx.errors import DataError

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (12, 8, 3), dtype=np.uint8)  # stored 8 wide and 12 high
SIXTH = Image.Exif()
SIXTH[0x0112] = 6  # shown a quarter turn to the right
XMP = '<x:xmpmeta xmlns:x="adobe:ns:meta/"><r:Description xmlns:r="r" tiff:Orientation="6"/></x:xmpmeta>'


def folder(root: Path, ending: str, content: bytes) -> Path:
    for kind in "ab":
        (root / kind).mkdir()
        for i in range(4):
            (root / kind / f"{i}{ending}").write_bytes(content)
    return root


def saved(pixels: np.ndarray, form: str, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ("ending", "content"),
    [
        (".bmp", saved(PIXELS[:, :5], "BMP")),  # rows of 16 bytes
        (".bmp", saved(np.tile(PIXELS[:, :, 0], 20), "BMP")),  # of 160
        (".ppm", b"P6 4 4 160\n" + bytes(range(48))),
        (".pgm", b"P5 4 4 16\n" + bytes(range(16))),
    ],
)
def test_eight_bits_are_read_whatever_other_numbers_a_header_has(tmp_path: Path, ending: str, content: bytes) -> None:
    load_data(folder(tmp_path, ending, content))


@pytest.mark.parametrize("head", [b"P6 4 4 65535\n", b"P6 4 4 1023\n"])
def test_sixteen_bits_of_ppm_are_refused(tmp_path: Path, head: bytes) -> None:
    with pytest.raises(DataError, match=r"0\.ppm: more than 8 bits"):
        load_data(folder(tmp_path, ".ppm", head + bytes(96)))


def behind_the_pixels() -> bytes:
    """A PNG with EXIF as exiftool writes it."""
    content, exif = saved(PIXELS, "PNG"), SIXTH.tobytes()[6:]
    chunk = struct.pack(">I", len(exif)) + b"eXIf" + exif + struct.pack(">I", zlib.crc32(b"eXIf" + exif))
    return content[:-12] + chunk + content[-12:]


def with_xmp() -> bytes:
    told = PngImagePlugin.PngInfo()
    told.add_itxt("XML:com.adobe.xmp", XMP)
    return saved(PIXELS, "PNG", pnginfo=told)


@pytest.mark.parametrize(
    ("ending", "content"),
    [
        (".tif", saved(PIXELS, "TIFF", exif=SIXTH)),
        (".png", saved(PIXELS, "PNG", exif=SIXTH)),
        (".png", behind_the_pixels()),
        (".png", with_xmp()),
    ],
    ids=("tiff", "png", "behind the pixels", "xmp"),
)
def test_orientation_wherever_a_file_has_it(tmp_path: Path, ending: str, content: bytes) -> None:
    data = load_data(folder(tmp_path, ending, content), normalise=False)
    assert data.input_shape == (3, 8, 12) and any("8 turned upright" in note for note in data.notes)
    np.testing.assert_array_equal(data.train.x[0], np.rot90(PIXELS, -1).transpose(2, 0, 1))
