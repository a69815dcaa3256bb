"""Paths of a run that was moved: what its configuration names is looked for in the folder, then where the run began."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dashfx.config.run import RunConfig
from dashfx.errors import RunFolderError
from dashfx.frontend.model import ModelSource
from dashfx.frontend.sources import sources_of

CODE = ("model", "task", "augment", "data")  # options that can name code: `file.py:Class`
NOT_SOURCES = ("load_model.py", "load_ensemble.py")  # what dashfx writes there itself


def localised(config: RunConfig, root: Path, directory: Path | None) -> RunConfig:
    """The options with the paths at which their files are now.

    Args:
        root: of the run's folder, where copies of the user's sources stand.
        directory: where the run was begun, which relative paths are meant from; None where that is not known.
    """
    found = {name: _code(getattr(config, name), root, directory) for name in CODE if getattr(config, name)}
    found["data"] = _data(found["data"], directory) if found.get("data") else config.data
    found["checkpoint"] = config.checkpoint and _from(config.checkpoint, directory)
    return config.model_copy(update=found)


def as_written(config: RunConfig, written: RunConfig, moved: RunConfig) -> RunConfig:
    """The options with paths as they were given, where `config` has those of `moved`: `written`, made `localised`."""
    names = [name for name in (*CODE, "checkpoint") if getattr(config, name) == getattr(moved, name)]
    return config.model_copy(update={name: getattr(written, name) for name in names})


def code_files(config: RunConfig) -> list[Path]:
    """The files of the user's code that the options name."""
    specs = [spec for name in CODE for spec in (getattr(config, name) or "").split(",")]
    return [Path(_file(spec)).expanduser() for spec in specs if _file(spec)]


def copy_model(source: ModelSource, root: Path) -> None:
    """Copies of the files that a user's model is made of, in the same order of folders.

    Raises:
        RunFolderError: they cannot be written.
    """
    if found := sources_of(source):
        copy_sources([found.root / file for file in found.files], found.root, root)


def copy_sources(files: Iterable[Path], base: Path | None, root: Path) -> None:
    """Copies of the user's sources in the run's folder: those below `base` in the same order of folders.

    What stands there already is what the run began with, and stays.

    Raises:
        RunFolderError: they cannot be written.
    """
    for file in dict.fromkeys(path.resolve() for path in files if path.is_file()):
        inside = base is not None and file.is_relative_to(base.resolve())
        copy = root / (file.relative_to(base.resolve()) if inside and base else file.name)
        if copy.exists() or copy.name in NOT_SOURCES:
            continue
        try:
            copy.parent.mkdir(parents=True, exist_ok=True)
            part = copy.with_name(f"{copy.name}.part")
            shutil.copyfile(file, part)
            os.replace(part, copy)
        except OSError as error:
            raise RunFolderError(f"{copy} cannot be written ({error.strerror or error})") from None


def _code(spec: Any, root: Path, directory: Path | None) -> Any:
    """`file.py:Class` with the copy in the folder, or the original where it and its neighbours are still the same."""
    if "," in spec:  # of augmentations
        return ",".join(_code(each, root, directory) for each in spec.split(","))
    file, name = _file(spec), spec.rpartition(":")[2]
    if not file:
        _reach(spec, root)
        return spec
    original = Path(_from(file, directory))
    copy = root / original.name
    if original.name in NOT_SOURCES or not copy.is_file() or _unchanged(original, root):
        return f"{original}:{name}"
    return f"{copy}:{name}"


def _reach(spec: str, root: Path) -> None:
    """Let `package.module:Class` be imported from its copy in the folder, last of all places."""
    module = root.joinpath(*spec.rpartition(":")[0].split("."))
    if module != root and (module.with_suffix(".py").is_file() or (module / "__init__.py").is_file()):
        place = str(root.resolve())
        if place not in sys.path:
            sys.path.append(place)


def _unchanged(original: Path, root: Path) -> bool:
    """Whether the sources are still what was copied; then what they read beside themselves is there too."""
    copies = [path for path in root.rglob("*.py") if path.name not in NOT_SOURCES]
    try:
        beside = [original.expanduser().parent / copy.relative_to(root) for copy in copies]
        same = [
            old.read_bytes() == copy.read_bytes() for old, copy in zip(beside, copies, strict=True) if old.is_file()
        ]
        return original.expanduser().is_file() and all(same)
    except OSError:
        return False


def _file(spec: str) -> str:
    place, _, name = spec.strip().rpartition(":")
    return place if place.endswith(".py") and name.isidentifier() else ""


def _data(spec: str, directory: Path | None) -> str:
    """Also of several files joined by "+", and behind a prefix as in `hf:FOLDER`."""
    parts = []
    for part in spec.split("+"):
        prefix, colon, rest = part.partition(":")
        own = _from(part, directory)
        parts.append(own if own != part or not colon else f"{prefix}:{_from(rest, directory)}")
    return "+".join(parts)


def _from(path: str, directory: Path | None) -> str:
    """A relative path as seen from `directory`, where it leads to something; a bare word may also be a name."""
    if directory is None or not path or (Path(path).name == path and "." not in path):
        return path
    there = directory / Path(path).expanduser()
    try:
        return str(there) if there.exists() else path
    except (OSError, ValueError):
        return path
