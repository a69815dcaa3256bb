"""An `.npz` file, or a folder of `.npy`, goes in; arrays come out by key, memory-mapped if they are not compressed."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from dashfx.errors import DataError

_LOCAL_HEADER = 30  # bytes before the name in a zip member's local header (APPNOTE 4.3.7)


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """Every array of the file; nothing is unpickled.

    Raises:
        DataError: not an `.npz` file, a damaged one, or one with object arrays.
    """
    try:
        with zipfile.ZipFile(path) as archive, np.load(path, allow_pickle=False) as loaded:
            return {
                info.filename.removesuffix(".npy"): _mapped(path, info)
                if info.compress_type == zipfile.ZIP_STORED
                else loaded[info.filename.removesuffix(".npy")]
                for info in archive.infolist()
                if info.filename.endswith(".npy")
            }
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        if "bject arrays" in str(error):
            raise DataError(
                f"{path}: it holds object arrays, which are not unpickled; save plain arrays of one shape and dtype"
            ) from None
        raise DataError(f"{path}: not a readable .npz file ({error}); write it with numpy.savez") from None


def read_npy_folder(folder: Path) -> dict[str, np.ndarray]:
    """The `.npy` files of a folder by name, memory-mapped.

    Raises:
        DataError: a damaged file, or one with objects.
    """
    arrays = {}
    for path in sorted(folder.glob("*.npy")):
        try:
            arrays[path.stem] = np.load(path, mmap_mode="r", allow_pickle=False)
        except (ValueError, OSError, EOFError) as error:
            raise DataError(f"{path}: not a plain array ({error}); write it with numpy.save") from None
    return arrays


def _mapped(path: Path, info: zipfile.ZipInfo) -> np.ndarray:
    """numpy's `mmap_mode` does nothing for members of an archive, so the array is located by hand.

    Raises:
        ValueError: an object array, or a member that is not an array.
    """
    with open(path, "rb") as file:
        file.seek(info.header_offset)
        header = file.read(_LOCAL_HEADER)
        file.seek(int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little"), 1)
        version = np.lib.format.read_magic(file)
        if version == (1, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
        else:
            shape, fortran, dtype = np.lib.format.read_array_header_2_0(file)
        offset = file.tell()
    if dtype.hasobject:
        raise ValueError("object arrays")
    if 0 in shape:  # mmap refuses an empty range
        return np.empty(shape, dtype)
    return np.memmap(path, dtype, mode="r", offset=offset, shape=shape, order="F" if fortran else "C")
