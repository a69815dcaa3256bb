"""Images in folders by class: uint8 rows and the classes' names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from dashfx.data.readers.folders import labelled_files
from dashfx.data.readers.groups import grouped
from dashfx.data.readers.pictures.decode import SUFFIXES, Form, common_form, pixels
from dashfx.data.readers.rows import Rows, held
from dashfx.data.reading import Reading
from dashfx.data.source import Source


class ImageFiles(Rows):
    """uint8 (N, C, H, W) of files, decoded when asked for; C is 1 for mode "L" and 3 for "RGB"."""

    def __init__(self, paths: list[Path], form: Form, reading: Reading) -> None:
        super().__init__((len(paths), *form.shape), np.uint8)
        self.paths, self.mode, self.reading = paths, form.mode, reading

    def row(self, number: int, generator: torch.Generator | None) -> np.ndarray:
        path = self.paths[number]
        return pixels(path, str(path), self.mode, self.reading)


def read_folder(folder: Path, reading: Reading) -> Source:
    """`folder/class/*.png`, or `folder/train/class/*.png` with optional `valid` (or `val`) and `test` beside `train`.

    Images are grey if all of them are, otherwise RGB, and upright. Where they are many they stay on the disk.

    Raises:
        DataError: no class folders, a class without images, a broken image, images of different sizes without
            `reading.size`, or of more than 8 bits a channel.
    """
    listing = labelled_files(folder, SUFFIXES, "images")
    form = common_form(((path, str(path)) for files in listing.files.values() for path, _ in files), reading)
    parts = {
        part: (held(ImageFiles([path for path, _ in files], form, reading)), np.array([name for _, name in files]))
        for part, files in listing.files.items()
    }
    notes, outside = (*form.notes, *listing.notes), form.outside(reading)
    source = Source(folder.name, parts, notes, channels=CHANNELS[form.mode], images=True, outside=outside)
    return grouped(source, listing.paths, listing.roots, reading)


CHANNELS = {"L": ("grey",), "RGB": ("red", "green", "blue")}
