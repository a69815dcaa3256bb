"""Data of several kinds as files of a user's, and their rows read by hand: what the tests of complete files share."""

from __future__ import annotations

import wave
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from dashfx.data import Data, load_data
from dashfx.data.reading import Reading

TRAIN, TEST, CLASSES = 24, 6, 3
RATE, SAMPLES = 8000, 1600
NAMES = ("bus", "cat", "ähre")  # in their order, in which readers list folders

Rows = np.ndarray
Make = Callable[[Path], tuple[Any, Rows]]  # what `load_data` takes, and the raw rows of the test part


@dataclass(frozen=True)
class Case:
    make: Make
    reading: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    task: str | None = None

    def load(self, folder: Path) -> tuple[Data, Rows]:
        spec, rows = self.make(folder)
        return load_data(spec, reading=Reading(**self.reading), **self.options), rows


def arrays(x: Callable[[np.random.Generator, int], Rows], y: Callable[[np.random.Generator, int], Rows]) -> Make:
    """An .npz file."""

    def make(folder: Path) -> tuple[Any, Rows]:
        rng = np.random.default_rng(0)
        parts = {"train": TRAIN, "test": TEST}
        found = {f"{what}_{part}": of(rng, n) for part, n in parts.items() for what, of in (("x", x), ("y", y))}
        np.savez(folder / "data.npz", **found)
        return folder / "data.npz", found["x_test"]

    return make


def labels(rng: np.random.Generator, n: int) -> Rows:
    return np.array(NAMES)[np.arange(n) % CLASSES]


def pictures(shape: tuple[int, ...], as_read: Callable[[Image.Image], Rows] = np.asarray) -> Make:
    """A folder of images by class."""

    def make(folder: Path) -> tuple[Any, Rows]:
        rng, rows = np.random.default_rng(0), []
        for part, n in (("train", TRAIN), ("test", TEST)):
            for name in NAMES:
                (folder / "images" / part / name).mkdir(parents=True)
                for number in range(n // CLASSES):
                    image = Image.fromarray(rng.integers(0, 256, shape, np.uint8))
                    image.save(folder / "images" / part / name / f"{number}.png")
                    rows += [as_read(image)] if part == "test" else []
        return folder / "images", np.stack(rows)

    return make


def sounds(channels: int, lengths: Callable[[int], int] = lambda number: SAMPLES) -> Make:
    """A folder of .wav files by class: noise of a loudness, and a tone."""

    def make(folder: Path) -> tuple[Any, Rows]:
        rng, rows = np.random.default_rng(0), []
        for part, n in (("train", TRAIN), ("test", TEST)):
            for pitch, name in enumerate(NAMES):
                (folder / "sounds" / part / name).mkdir(parents=True)
                for number in range(n // CLASSES):
                    length = lengths(number)
                    tone = np.sin(np.arange(length) * (pitch + 1) * 0.3)[None] * rng.uniform(0.1, 0.5)
                    values = ((tone + 0.05 * rng.normal(size=(channels, length))) * 20_000).astype("<i2")
                    with wave.open(str(folder / "sounds" / part / name / f"{number}.wav"), "wb") as file:
                        file.setnchannels(channels)
                        file.setsampwidth(2)
                        file.setframerate(RATE)
                        file.writeframes(values.T.tobytes())
                    padded = np.zeros((channels, SAMPLES), np.float32)
                    padded[:, :length] = values / np.float32(32768)
                    rows += [padded] if part == "test" else []
        return folder / "sounds", np.stack(rows)

    return make


class Net(nn.Module):
    """Each number of the input counts in each of the output: an answer per row, or per position."""

    def __init__(self, data: Data) -> None:
        super().__init__()
        torch.manual_seed(0)
        channels, *size = data.input_shape
        self.dense = len(data.output_shape) > 1
        conv = nn.Conv1d if len(size) == 1 else nn.Conv2d
        self.conv = conv(channels, data.output_shape[0] if self.dense else 4, 3, padding=1)
        self.fc = None if self.dense else nn.Linear(4 * int(np.prod(size)), data.output_shape[0])

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return x if self.fc is None else self.fc(torch.tanh(x).flatten(1))


def far(rng: np.random.Generator, n: int) -> Rows:
    return rng.normal(1e6, 2, (n, 2, 12))


CASES = {
    "images": Case(pictures((8, 9, 3))),
    "grey images": Case(pictures((8, 9))),
    "resized images": Case(
        pictures((8, 9, 3), lambda image: np.asarray(image.resize((6, 6), Image.Resampling.BILINEAR))), {"size": 6}
    ),
    "sounds": Case(sounds(1), {"log_mel": 20}),
    "stereo": Case(sounds(2), {"log_mel": 20}, {"normalise": "positions"}),
    "sounds of several lengths": Case(sounds(1, lambda n: SAMPLES - 100 * n), {"log_mel": 20, "fit": "pad"}),
    "series": Case(arrays(lambda rng, n: rng.normal(3, 2, (n, 2, 12)), labels)),
    "one channel": Case(arrays(lambda rng, n: rng.normal(3, 2, (n, 12)).astype(np.float32), labels)),
    "far from zero": Case(arrays(far, labels)),
    "far, by position": Case(arrays(far, labels), options={"normalise": "positions"}),
    "channels last": Case(arrays(lambda rng, n: rng.integers(0, 256, (n, 8, 9, 3), np.uint8), labels)),
    "channels first": Case(arrays(lambda rng, n: rng.integers(0, 256, (n, 3, 8, 9), np.uint8), labels)),
    "said to be last": Case(arrays(lambda rng, n: rng.normal(size=(n, 12, 2)), labels), {"layout": "last"}),
    "as they are": Case(arrays(lambda rng, n: rng.normal(3, 2, (n, 2, 12)), labels), options={"normalise": False}),
    "numbers to regress": Case(
        arrays(lambda rng, n: rng.normal(size=(n, 2, 12)), lambda rng, n: rng.normal(50, [1, 100], (n, 2))),
        task="regress",
    ),
    "several labels": Case(
        arrays(lambda rng, n: rng.normal(size=(n, 2, 12)), lambda rng, n: rng.integers(0, 2, (n, 4)))
    ),
    "classes of positions": Case(
        arrays(lambda rng, n: rng.normal(size=(n, 2, 12)), lambda rng, n: rng.integers(0, 3, (n, 12)))
    ),
}
