"""Borders to foreign bytes: whatever a library raises becomes one line, and sizes in headers are held to the file."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np
import psutil

from dashfx.errors import DashfxError, DataError, first_line

ROW_BYTES = 2**31  # of one row or image as it is fed to a model; more is a broken header sooner than data
DEFLATE = 1100  # bytes that a byte of a compressed file gives at most (zlib: 1032)


@contextmanager
def border(where: object, what: str, remedy: str) -> Iterator[None]:
    """Around everything that lets a library look at bytes from outside.

    Such libraries raise whatever their own helpers raise (struct.error, RuntimeError, zlib.error, KeyError,
    RecursionError, MemoryError, ...), so nothing is picked out; the cause stays for who looks from Python.

    Raises:
        DataError: "{where}: {what} ({the library's first line}); {remedy}".
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the same bytes; what matters is noted by the reader
            yield
    except DashfxError:
        raise
    except Exception as error:
        raise DataError(f"{where}: {what} ({first_line(error)}); {remedy}") from error


def check_room(size: int, where: object) -> None:
    """Whether so many bytes could be held in memory at all; asked before they are allocated.

    Raises:
        DataError: they could not.
    """
    room = psutil.virtual_memory().total
    if size > room:
        raise DataError(
            f"{where} would take {gigabytes(size)} of memory, this machine has {gigabytes(room)}; "
            "its header is damaged, or it needs a larger machine"
        )


def gigabytes(size: int) -> str:
    """
    >>> gigabytes(3 * 2**30)
    '3.0 GiB'
    """
    return f"{size / 2**30:.1f} GiB"


def npy_header(file: BinaryIO, size: int, where: object) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, Fortran order and dtype of an `.npy` of `size` bytes that begins here; `file` stands behind it then.

    Raises:
        DataError: objects, a negative length, or another number of bytes than the header tells.
        ValueError: no such header.
    """
    start = file.tell()
    version = np.lib.format.read_magic(file)
    field = file.read(2 if version == (1, 0) else 4)
    if (length := int.from_bytes(field, "little")) > size:  # numpy would make room for so many bytes first
        raise DataError(f"{where}: its header is of {length:,} bytes, the file of {size:,}; it is damaged")
    file.seek(start + 8)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(file)
    if dtype.hasobject:
        raise DataError(
            f"{where}: it holds object arrays, which are not unpickled; save plain arrays of one shape and dtype"
        )
    told, there = math.prod(shape) * dtype.itemsize, size - (file.tell() - start)
    if min(shape, default=0) < 0 or told > there:
        raise DataError(
            f"{where}: its header tells of {told:,} bytes {shape}, the file has {there:,}; it is cut off or damaged, "
            "write it again with numpy.save"
        )
    return shape, fortran, dtype


def read_npy(file: BinaryIO, size: int, where: object) -> np.ndarray:
    """The array whose bytes begin here.

    Raises:
        DataError: as `npy_header`, or an array larger than memory.
    """
    start = file.tell()
    shape, _, dtype = npy_header(file, size, where)
    check_room(math.prod(shape) * dtype.itemsize, where)
    file.seek(start)
    return np.asarray(np.lib.format.read_array(file, allow_pickle=False))
