"""Reading of a spec (path, name, code, mapping or tuple of arrays) into a `Source`, or a user's finished `Data`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dashfx.data.base import Data
from dashfx.data.join import join
from dashfx.data.readers.datasets import read_saved
from dashfx.data.readers.folders import has
from dashfx.data.readers.npz import npy_files, read_npy_folder, read_npz
from dashfx.data.readers.pictures.folder import read_folder
from dashfx.data.readers.pictures.masks import mask_roots, read_masks
from dashfx.data.readers.pt import read_pt
from dashfx.data.readers.ucr import read_ucr
from dashfx.data.readers.wav import SUFFIXES as SOUNDS
from dashfx.data.readers.wav import read_waves
from dashfx.data.readers.webdataset import read_shards
from dashfx.data.reading import Reading
from dashfx.data.sets.named import NAMED
from dashfx.data.source import Source, from_mapping, from_tuple
from dashfx.errors import DataError, did_you_mean
from dashfx.usercode import is_code, load_object

Spec = str | Path | Data | Mapping[str, Any] | tuple[Any, ...]


def read(spec: Spec, reading: Reading) -> Source | Data:
    """What `spec` names; `file.py:factory` runs the user's code.

    Raises:
        DataError: no such file, set or factory, a file of another type, or arrays or columns that are not there.
    """
    if reading.columns and (not isinstance(spec, str) or spec.partition(":")[0] not in FORMS):
        raise DataError("reading.columns names columns of hf: folders and wds: shards; arrays are called x and y")
    if isinstance(spec, Data):
        return spec
    if isinstance(spec, Mapping):
        return from_mapping(spec, "data")
    if isinstance(spec, tuple):
        return from_tuple(spec, "data")
    if isinstance(spec, Path) and spec.exists():
        return read_path(spec, reading)
    if not isinstance(spec, (str, Path)):
        raise DataError(f"data of type {type(spec).__name__} is not understood; give a path, a name or arrays")
    return _read_text(str(spec), reading)


def _read_text(spec: str, reading: Reading) -> Source | Data:
    if not spec:
        raise DataError("no data given; name a file, a folder, file.py:factory, or one of " + ", ".join(NAMED))
    name, _, parameter = spec.partition(":")
    if name in NAMED:
        return NAMED[name](parameter) if spec != name else _unless_shadowed(name)
    if name in FORMS and parameter:
        return FORMS[name](parameter, reading)
    if not Path(spec).expanduser().exists():
        if is_code(spec):
            return _from_factory(spec)
        if "+" in spec:
            return join([read_path(Path(piece).expanduser(), reading) for piece in spec.split("+")])
    return read_path(Path(spec).expanduser(), reading)


def _unless_shadowed(name: str) -> Source:
    """A set of that name, unless something of the user's is called so, which may be what they mean.

    Raises:
        DataError: it may.
    """
    if Path(name).exists():
        raise DataError(
            f"{name!r} is a data set of dashfx and also lies in this folder; write ./{name} for yours, or {name}: for "
            "the set"
        )
    return NAMED[name]("")


def read_path(path: Path, reading: Reading) -> Source:
    """A file of one of the `READERS`, or a folder: of `.npy` arrays, or of images or sounds by class.

    Raises:
        DataError: nothing there, or a file of another type.
    """
    if not path.exists():
        raise DataError(_nothing_there(path))
    if path.is_dir():
        return _read_folder(path, reading)
    suffix = path.suffix.lower()
    if suffix not in READERS:
        raise DataError(
            f"{path}: files of type {suffix or 'none'!r} are not read; give {', '.join(READERS)} or a folder"
        )
    return READERS[suffix](path)


def _read_folder(path: Path, reading: Reading) -> Source:
    if npy_files(path):
        return from_mapping(read_npy_folder(path), path.name)
    if (path / "dataset_info.json").is_file() or (path / "dataset_dict.json").is_file():
        raise DataError(f"{path}: a folder that datasets saved; write --data hf:{path}")
    if roots := mask_roots(path):
        return read_masks(path, roots, reading)
    return read_waves(path, reading) if has(path, SOUNDS) else read_folder(path, reading)


def _read_npz(path: Path) -> Source:
    return from_mapping(read_npz(path), path.stem)


def _read_pt(path: Path) -> Source:
    loaded = read_pt(path)
    return from_mapping(loaded, path.stem) if isinstance(loaded, dict) else from_tuple(loaded, path.stem)


READERS: dict[str, Callable[[Path], Source]] = {
    ".npz": _read_npz,
    ".pt": _read_pt,
    ".pth": _read_pt,
    ".ts": read_ucr,
    ".tsv": read_ucr,
}
FORMS: dict[str, Callable[[str, Reading], Source]] = {"hf": read_saved, "wds": read_shards}


def _from_factory(spec: str) -> Source | Data:
    factory = load_object(spec, DataError)
    if not callable(factory):
        raise DataError(f"{spec} is not a function; give one that returns Data, a dict of arrays or (x, y)")
    needed = [
        name
        for name, parameter in inspect.signature(factory).parameters.items()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    if needed:
        raise DataError(f"{spec} needs arguments ({', '.join(needed)}); the data factory is called without any")
    made = factory()
    if isinstance(made, Mapping):
        return from_mapping(made, spec)
    if isinstance(made, (tuple, list)):
        return from_tuple(made, spec)
    if isinstance(made, Data):
        return made
    raise DataError(f"{spec} returned a {type(made).__name__}; it must return Data, a dict of arrays, or (x, y)")


def _nothing_there(path: Path) -> str:
    """Tells a mistyped name of a set from a mistyped path."""
    if not path.suffix and len(path.parts) == 1:
        near = did_you_mean(path.name.partition(":")[0], NAMED)
        return f"no data set or file {path.name!r}{near}; the sets are {', '.join(NAMED)}"
    beside = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
    return f"no such file or folder: {path}{did_you_mean(path.name, beside)}"
