"""WebDataset shards (tar): rows that are decoded where they lie, and their labels.

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

from dashfx.data.join import join
from dashfx.data.readers.border import border, read_npy
from dashfx.data.readers.pictures.decode import Form, common_form, pixels
from dashfx.data.readers.rows import Rows, held
from dashfx.data.reading import Reading
from dashfx.data.source import Pair, Source
from dashfx.errors import DataError, did_you_mean, first_line

IMAGES = ("png", "jpg", "jpeg")
INPUTS = (*IMAGES, "npy")
LABEL = "cls"
LONGEST_LABEL = 1000  # bytes
MOST_SHARDS = 100_000
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

    def __init__(self, places: list[Place], form: Form, reading: Reading) -> None:
        super().__init__((len(places), *form.shape), np.uint8)
        self.places, self.mode, self.reading = places, form.mode, reading

    def row(self, number: int, generator: torch.Generator | None) -> np.ndarray:
        place = self.places[number]
        return pixels(io.BytesIO(place.read()), str(place), self.mode, self.reading)


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
        with border(place, "no plain array", "write it with numpy.save"):
            return np.atleast_2d(read_npy(io.BytesIO(place.read()), place.size, place))


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
    braces = re.search(r"\{(\d{1,9})\.\.(\d{1,9})\}", pattern)
    if braces is None:
        return [Path(pattern).expanduser()]
    first, last = braces.groups()
    if int(last) - int(first) >= MOST_SHARDS:
        raise DataError(f"wds:{pattern} names {int(last) - int(first) + 1:,} shards; write at most {MOST_SHARDS:,}")
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
            labels.append(_label(sample[label]))
    if not places:
        raise DataError(f"{paths[0]}: no samples in it; a shard holds 00017.png (or jpg, npy) and 00017.cls")
    x: Rows
    outside: tuple[str, ...] = ()
    notes: tuple[str, ...] = (f"{len(paths)} shards, {kind}",)
    if kind.endswith("npy"):
        x = ShardArrays(places)
    else:
        form = common_form(((io.BytesIO(place.read()), str(place)) for place in places), reading)
        x, notes = ShardImages(places, form, reading), (*notes, *form.notes)
        outside = form.outside(reading)
    name = re.sub(r"[-_.]?\{.*", "", Path(pattern).name.removesuffix(".tar"))
    y = np.array(labels)
    whole = all(re.fullmatch(r"-?\d{1,18}", label) for label in labels)
    parts: dict[str, Pair] = {"train": (held(x), y.astype(np.int64) if whole else y)}
    return Source(name, parts, notes, images=bool(outside), outside=outside)


def _label(place: Place) -> str:
    """
    Raises:
        DataError: no text, none at all, or more than a name has.
    """
    if not 0 < place.size <= LONGEST_LABEL:
        raise DataError(f"{place} has {place.size:,} bytes; a label is the number or name of a class")
    with border(place, "a label that is no UTF-8 text", "write the number or name of the class"):
        return place.read().decode("utf-8-sig").strip()


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
    if not path.is_file():
        raise DataError(f"no such shard: {path}")
    try:
        with border(path, "not a plain tar file", "copy or write it again"), tarfile.open(path, "r:") as tar:
            for member in tar:
                if member.size < 0 or member.issparse():
                    raise DataError(f"{path}: {member.name:.80} is sparse or damaged; write the shard again")
                end = member.offset_data + -(-member.size // BLOCK) * BLOCK
                folder, _, file = member.name.rpartition("/")
                name, _, kind = file.partition(".")
                if member.isfile() and name:
                    place = Place(path, member.name, member.offset_data, member.size)
                    samples.setdefault(f"{folder}/{name}" if folder else name, {})[kind.lower()] = place
    except DataError as error:
        if error.__cause__ is None:
            raise
        early = "the shard ends early" if end else "not a plain tar file (compressed ones are not read)"
        raise DataError(f"{path}: {early} ({first_line(error.__cause__)}); copy or write it again") from error
    if path.stat().st_size < end + BLOCK:
        raise DataError(f"{path}: the shard ends early, after {len(samples)} samples; copy or write it again")
    yield from samples.items()
