"""Cache of generated data sets: memory-mapped arrays, made once per user.

The cache is `$XDG_CACHE_HOME/dashfx`, by default `~/.cache/dashfx`. An entry is a folder of `.npy` files, filled
beside its place and then moved, so that a reader never sees half of one.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

log = logging.getLogger(__name__)

Shapes = Mapping[str, tuple[tuple[int, ...], str]]  # name -> shape and dtype
Fill = Callable[[dict[str, np.ndarray]], None]


def cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "dashfx"


def cached(name: str, shapes: Shapes, fill: Fill) -> dict[str, np.ndarray]:
    """The arrays of the entry `name`, after `fill` has written them where they were not there yet, or damaged.

    Where the cache cannot be written, they are made in memory.
    """
    place = cache_folder() / name
    found = _read(place, shapes)
    if found is not None:
        return found
    try:
        cache_folder().mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=cache_folder(), prefix=f".{name}."))
    except OSError as error:
        log.warning("the cache %s cannot be written (%s); %s will be made again next time", place, error, name)
        arrays = {array: np.zeros(shape, dtype) for array, (shape, dtype) in shapes.items()}
        fill(arrays)
        return arrays
    try:
        _fill(scratch, shapes, fill)
        shutil.rmtree(place, ignore_errors=True)
        os.replace(scratch, place)
    except OSError:
        if (found := _read(place, shapes)) is not None:  # another process was faster
            return found
        raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    found = _read(place, shapes)
    assert found is not None  # it was written just now
    return found


def _fill(folder: Path, shapes: Shapes, fill: Fill) -> None:
    arrays: dict[str, np.ndarray] = {
        array: np.lib.format.open_memmap(folder / f"{array}.npy", "w+", dtype, shape)
        for array, (shape, dtype) in shapes.items()
    }
    fill(arrays)
    for mapped in arrays.values():
        assert isinstance(mapped, np.memmap)
        mapped.flush()


def _read(place: Path, shapes: Shapes) -> dict[str, np.ndarray] | None:
    if not place.is_dir():
        return None
    try:
        arrays = {array: np.load(place / f"{array}.npy", mmap_mode="r", allow_pickle=False) for array in shapes}
    except Exception:  # numpy raises what it likes about bytes that are no array: EOFError, SyntaxError, ...
        log.warning("%s is damaged and is made again", place)
        return None
    fits = all(arrays[name].shape == shape and arrays[name].dtype == kind for name, (shape, kind) in shapes.items())
    return arrays if fits else None
