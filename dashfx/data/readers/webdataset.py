"""Tar shards in WebDataset's layout go in; rows that are decoded where they lie, and their labels, come out.

A sample is the files of one name: `00017.png` (or jpg, jpeg, npy) and `00017.cls`, the number or name of its class. The
shards are indexed once, and rows are then read from anywhere in them, so that they can be split and shuffled like any
other. Nothing is unpickled, whatever a file is called.
"""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from dashfx.data.readers.images import common_form, pixels
from dashfx.data.readers.rows import Rows, held
from dashfx.data.reading import Reading
from dashfx.data.source import Source, join
from dashfx.errors import DataError, did_you_mean

IMAGES = ("png", "jpg", "jpeg")
INPUTS = (*IMAGES, "npy")
LABEL = "cls"
BLOCK = 512  # of a tar file, which ends with blocks of zeros


class Place(NamedTuple):
    """Where one file's bytes lie."""

    shard: Path
    name: str
    start: int
    size: int

    def __str__(self) -> str:
        return f"{self.shard}: {self.name}"

    def read(self) -> bytes:
        with open(self.shard, "rb") as file:
            file.seek(self.start)
            return file.read(self.size)


class ShardImages(Rows):
    """uint8 (N, C, H, W)."""

    def __init__(self, places: list[Place], mode: str, size: tuple[int, int]) -> None:
        super().__init__((len(places), 1 if mode == "L" else 3, size[1], size[0]), np.uint8)
        self.places, self.mode = places, mode

    def row(self, number: int, generator: torch.Generator | None) -> np.ndarray:
        place = self.places[number]
        return pixels(io.BytesIO(place.read()), str(place), self.mode)


class ShardArrays(Rows):
    """Arrays (C, *size), all of the shape and dtype of the first; (L,) is a series of one channel."""

    def __init__(self, places: list[Place]) -> None:
        self.places = places
        first = self._array(places[0])
        if first.ndim < 2 or first.dtype.kind not in "biuf":
            raise DataError(f"{places[0]}: {first.shape} of {first.dtype}; a row is (L,) or (C, *size) of numbers")
        super().__init__((len(places), *first.shape), first.dtype)

    def row(self, number: int, generator: torch.Generator | None) -> np.ndarray:
        array = self._array(self.places[number])
        if array.shape != self.shape[1:]:
            raise DataError(
                f"{self.places[number]} is {array.shape}, {self.places[0]} is {self.shape[1:]}; make them one"
            )
        return array

    def _array(self, place: Place) -> np.ndarray:
        try:
            return np.atleast_2d(np.load(io.BytesIO(place.read()), allow_pickle=False))
        except (ValueError, EOFError, OSError) as error:
            raise DataError(f"{place}: no plain array ({error}); write it with numpy.save") from None


def read_shards(parameter: str, reading: Reading) -> Source:
    """`shards-{000..009}.tar`, or two or three such joined by "+": train and test, or train, validation and test.

    Raises:
        DataError: shards that are missing, end early or hold something else, samples without an input or a label.
    """
    sources = [_part(pattern, reading) for pattern in parameter.split("+")]
    return sources[0] if len(sources) == 1 else join(sources)


def shard_paths(pattern: str) -> list[Path]:
    """The files that a pattern with at most one {first..last} names.

    >>> [str(path) for path in shard_paths("a-{08..10}.tar")]
    ['a-08.tar', 'a-09.tar', 'a-10.tar']
    """
    braces = re.search(r"\{(\d+)\.\.(\d+)\}", pattern)
    if braces is None:
        return [Path(pattern).expanduser()]
    first, last = braces.groups()
    numbers = (str(n).zfill(len(first)) for n in range(int(first), int(last) + 1))
    return [Path(pattern[: braces.start()] + n + pattern[braces.end() :]).expanduser() for n in numbers]


def _part(pattern: str, reading: Reading) -> Source:
    places: list[Place] = []
    labels: list[str] = []
    kind = ""
    paths = shard_paths(pattern)
    if not paths:
        raise DataError(f"wds:{pattern} names no shard; write shards-{{000..009}}.tar")
    for path in paths:
        for name, sample in _samples(path):
            kind = kind or (reading.columns[0] if reading.columns else _input(sample, path, name))
            label = reading.columns[1] if reading.columns else LABEL
            for wanted in (kind, label):
                if wanted not in sample:
                    near = did_you_mean(wanted, sample)
                    raise DataError(f"{path}: sample {name!r} has no {wanted!r}{near}; it has {', '.join(sample)}")
            places.append(sample[kind])
            labels.append(sample[label].read().decode("utf-8", "replace").strip())
    if not places:
        raise DataError(f"{paths[0]}: no samples in it; a shard holds 00017.png (or jpg, npy) and 00017.cls")
    x: Rows
    if kind.endswith("npy"):
        x = ShardArrays(places)
    else:
        x = ShardImages(places, *common_form((io.BytesIO(place.read()), str(place)) for place in places))
    name = re.sub(r"[-_.]?\{.*", "", Path(pattern).name.removesuffix(".tar"))
    y = np.array(labels)
    whole = all(re.fullmatch(r"-?\d+", label) for label in labels)
    return Source(name, {"train": (held(x), y.astype(np.int64) if whole else y)}, (f"{len(paths)} shards, {kind}",))


def _input(sample: dict[str, Place], path: Path, name: str) -> str:
    found = [kind for kind in INPUTS if kind in sample]
    if len(found) != 1:
        raise DataError(
            f"{path}: sample {name!r} has {', '.join(sample)}; give one of {', '.join(INPUTS)}, or name the two "
            "with reading.columns=[npy,cls]"
        )
    return found[0]


def _samples(path: Path) -> Iterator[tuple[str, dict[str, Place]]]:
    """Each sample's name, and its files by what stands behind the first dot."""
    samples: dict[str, dict[str, Place]] = {}
    end = 0
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                end = member.offset_data + -(-member.size // BLOCK) * BLOCK
                folder, _, file = member.name.rpartition("/")
                name, _, kind = file.partition(".")
                if member.isfile() and name:
                    place = Place(path, member.name, member.offset_data, member.size)
                    samples.setdefault(f"{folder}/{name}" if folder else name, {})[kind.lower()] = place
    except FileNotFoundError:
        raise DataError(f"no such shard: {path}") from None
    except (tarfile.ReadError, OSError) as error:
        early = "the shard ends early" if end else "not a plain tar file (compressed ones are not read)"
        raise DataError(f"{path}: {early} ({error}); copy or write it again") from None
    if path.stat().st_size < end + BLOCK:
        raise DataError(f"{path}: the shard ends early, after {len(samples)} samples; copy or write it again")
    yield from samples.items()
