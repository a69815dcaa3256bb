"""Arrays by key from `.npz` files and folders of `.npy`, memory-mapped if they are not compressed."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from dashfx.data.readers.border import DEFLATE, border, npy_header, read_npy
from dashfx.errors import DataError

_LOCAL_HEADER = 30  # bytes before the name in a zip member's local header (APPNOTE 4.3.7)


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """Every array of the file; nothing is unpickled.

    Raises:
        DataError: not an `.npz` file, a damaged or encrypted one, or one with object arrays.
    """
    with border(path, "not a readable .npz file", "write it with numpy.savez"), zipfile.ZipFile(path) as archive:
        members = [info for info in archive.infolist() if info.filename.endswith(".npy")]
        return {info.filename.removesuffix(".npy"): _member(path, archive, info) for info in members}


def read_npy_folder(folder: Path) -> dict[str, np.ndarray]:
    """The `.npy` files of a folder by name, memory-mapped; hidden ones, such as `._x.npy`, are left out.

    Raises:
        DataError: a damaged file, or one with objects.
    """
    return {path.stem: read_npy_file(path) for path in npy_files(folder)}


def npy_files(folder: Path) -> list[Path]:
    files = (path for path in folder.iterdir() if path.suffix.lower() == ".npy" and path.is_file())
    return sorted(path for path in files if not path.name.startswith("."))


def read_npy_file(path: Path) -> np.ndarray:
    """One `.npy` file, memory-mapped.

    Raises:
        DataError: a damaged file, or one with objects.
    """
    with border(path, "not a plain array", "write it with numpy.save"), open(path, "rb") as file:
        return _mapped(path, *npy_header(file, path.stat().st_size, f"{path}: not a plain array"), file.tell())


def _member(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    where = f"{path}: {info.filename}"
    if info.flag_bits & 1:
        raise DataError(f"{where} is encrypted; write the file again with numpy.savez")
    if info.compress_type == zipfile.ZIP_STORED:
        with open(path, "rb") as file:
            file.seek(info.header_offset)
            header = file.read(_LOCAL_HEADER)
            file.seek(int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little"), 1)
            size = min(info.file_size, path.stat().st_size - file.tell())
            return _mapped(path, *npy_header(file, size, where), file.tell())
    if info.file_size > DEFLATE * info.compress_size and info.compress_type == zipfile.ZIP_DEFLATED:
        raise DataError(f"{where}: {info.compress_size:,} bytes cannot hold {info.file_size:,}; the file is damaged")
    with archive.open(info) as stream:
        return read_npy(stream, info.file_size, where)  # type: ignore[arg-type]


def _mapped(path: Path, shape: tuple[int, ...], fortran: bool, dtype: np.dtype, offset: int) -> np.ndarray:
    """numpy's `mmap_mode` does nothing for members of an archive, so the array is located by hand."""
    if 0 in shape or not dtype.itemsize:  # mmap refuses an empty range
        return np.empty(shape, dtype)
    return np.memmap(path, dtype, mode="r", offset=offset, shape=shape, order="F" if fortran else "C")
