"""`file.py:name` or `package.module:name` goes in; the user's object comes out. This runs the user's code."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import zlib
from pathlib import Path
from types import ModuleType
from typing import Any

from dashfx.errors import DashfxError, did_you_mean


def is_code(spec: str) -> bool:
    """Whether `spec` names an object in a file or a package rather than something built in."""
    place, colon, name = spec.rpartition(":")
    words = place.split(".")  # a package's module has a dot, so that `classify:f1` is not taken for one
    dotted = len(words) > 1 and all(map(str.isidentifier, words))
    return bool(colon) and name.isidentifier() and (place.endswith(".py") or dotted)


def load_object(spec: str, error: type[DashfxError]) -> Any:
    """The object that `spec` names; importing its file runs it.

    Raises:
        error: no such file, module or name. What the user's own code raises passes through with its traceback.
    """
    place, _, name = spec.rpartition(":")
    module = _from_file(Path(place).expanduser(), error) if place.endswith(".py") else _from_package(place, error)
    if not hasattr(module, name):
        public = [known for known in vars(module) if not known.startswith("_")]
        raise error(f"{place} has no {name!r}{did_you_mean(name, public)}")
    return getattr(module, name)


def _from_file(path: Path, error: type[DashfxError]) -> ModuleType:
    if not path.is_file():
        beside = [other.name for other in path.parent.glob("*.py")] if path.parent.is_dir() else []
        raise error(f"no such file: {path}{did_you_mean(path.name, beside)}")
    path = path.resolve()
    # One module per file, whatever asks for it: a class reached twice must be the same class.
    name = f"_user_{path.stem}_{zlib.crc32(str(path).encode()):08x}"
    if name in sys.modules:
        return sys.modules[name]
    _reachable(path.parent)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None  # a .py file always has a loader
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _from_package(name: str, error: type[DashfxError]) -> ModuleType:
    _reachable(Path.cwd())
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as missing:
        if missing.name is None or not (name == missing.name or name.startswith(f"{missing.name}.")):
            raise  # the module is there, but something that it imports is not
        raise error(f"no module named {name!r}; give file.py:name, or install the package") from None


def _reachable(folder: Path) -> None:
    """Lets a user's file import its neighbours; last on the path, so that it hides nothing."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
