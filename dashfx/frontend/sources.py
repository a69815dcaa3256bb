"""Source files that a user's model is made of: its own file and those of the same project that it imports."""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dashfx.frontend.model import ModelSource


@dataclass(frozen=True)
class Sources:
    """A model's source files.

    Attributes:
        root: the folder that must be on Python's path for the model's imports: that of its file, or the one that holds
            its package.
        files: relative to `root`, the model's own first.
    """

    root: Path
    files: tuple[Path, ...]


def sources_of(source: ModelSource) -> Sources | None:
    """The files that rebuild the model elsewhere when they are copied, with the folders they stand in, under one root.

    Imports are read from the text, also those inside functions, and followed as long as they lead to files below the
    root; installed packages are left out. What is imported by a computed name is not seen.

    Returns None for a model given from Python, and for one of an installed package.
    """
    if source.spec is None:
        return None
    if source.file is not None:
        return _followed(source.file.parent, source.file)
    name = source.spec.rpartition(":")[0]
    own, top = sys.modules.get(name), sys.modules.get(name.partition(".")[0])
    if own is None or top is None or not own.__file__ or not top.__file__ or _is_installed(Path(top.__file__)):
        return None
    return _followed(Path(top.__file__).resolve().parent.parent, Path(own.__file__).resolve())


def _followed(root: Path, first: Path) -> Sources:
    found: dict[Path, None] = {}
    waiting = [*_packages(root, first.parent), first]
    while waiting:
        file = waiting.pop(0)
        if file not in found:
            found[file] = None
            waiting += _imported(root, file)
    files = [first, *(file for file in found if file != first)]
    return Sources(root, tuple(file.relative_to(root) for file in files))


def _imported(root: Path, file: Path) -> Iterator[Path]:
    """The files below `root` that one file imports, the `__init__.py` of their packages included."""
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError, OSError):  # imported under a condition that does not hold
        return
    package = ".".join(file.parent.relative_to(root).parts)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join(filter(None, [*above, node.module or ""]))
            names = [base, *(f"{base}.{alias.name}" if base else alias.name for alias in node.names)]
        else:
            continue
        for name in names:
            yield from _files(root, name)


def _files(root: Path, name: str) -> Iterator[Path]:
    """The file of a module below `root`, after those of the packages around it; nothing where Python takes another."""
    top = name.partition(".")[0]
    if not top or not _is_below(root, top):
        return
    place = root.joinpath(*name.split("."))
    file = next((f for f in (place.with_suffix(".py"), place / "__init__.py") if f.is_file()), None)
    yield from _packages(root, place if file is None and place.is_dir() else place.parent)
    if file is not None:
        yield file


def _packages(root: Path, folder: Path) -> list[Path]:
    """The `__init__.py` of `folder` and of the folders around it, up to `root` and without it."""
    folders = [each for each in (folder, *folder.parents) if each != root and each.is_relative_to(root)]
    return [each / "__init__.py" for each in reversed(folders) if (each / "__init__.py").is_file()]


def _is_below(root: Path, top: str) -> bool:
    """Whether Python takes the module or package `top` from `root`, rather than one that is installed."""
    known = sys.modules.get(top)
    try:
        spec = known.__spec__ if known is not None else importlib.util.find_spec(top)
    except (ValueError, ImportError):
        spec = None
    if spec is None:
        return (root / top).is_dir() or (root / f"{top}.py").is_file()
    places = [spec.origin] if spec.has_location and spec.origin else list(spec.submodule_search_locations or ())
    return any(Path(place).resolve().is_relative_to(root) for place in places)


def _is_installed(file: Path) -> bool:
    return any(part in ("site-packages", "dist-packages") for part in file.parts)
