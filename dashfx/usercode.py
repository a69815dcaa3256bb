"""`file.py:name` or `package.module:name` goes in; the user's object comes out. This runs the user's code."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import inspect
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from dashfx.errors import DashfxError, did_you_mean, first_line


def is_code(spec: str) -> bool:
    """Whether `spec` names an object in a file or a package rather than something built in."""
    place, colon, name = spec.rpartition(":")
    words = place.split(".")  # a package's module has a dot, so that `classify:f1` is not taken for one
    dotted = len(words) > 1 and all(map(str.isidentifier, words))
    return bool(colon) and name.isidentifier() and (place.endswith(".py") or dotted)


def load_object(spec: str, error: type[DashfxError]) -> Any:
    """The object that `spec` names; importing its file runs it.

    Raises:
        error: no such file, module or name, a file that is no Python, lacks a package or ends the program when it is
            imported. What else the user's own code raises passes through with its traceback.
    """
    place, _, name = spec.rpartition(":")
    with _importing(place, error):
        module = _from_file(Path(place).expanduser(), error) if place.endswith(".py") else _from_package(place, error)
    if not hasattr(module, name):
        public = [known for known in vars(module) if not known.startswith("_")]
        own = [known for known in public if getattr(vars(module)[known], "__module__", "") == module.__name__]
        there = did_you_mean(name, public) or (f"; it has {', '.join(own[:8])}" if own else "; it defines nothing")
        raise error(f"{place} has no {name!r}{there}")
    return getattr(module, name)


@contextmanager
def _importing(place: str, error: type[DashfxError]) -> Iterator[None]:
    """Inside, the user's code sees no arguments of dashfx's, and what keeps it from being imported is one line.

    Raises:
        error: that line.
    """
    arguments, exit_of_argparse = sys.argv, argparse.ArgumentParser.error
    sys.argv = [place]
    argparse.ArgumentParser.error = _refuse_arguments  # type: ignore[assignment]
    guard = "put what runs the program under `if __name__ == '__main__':`"
    try:
        yield
    except _WantsArguments as wanted:
        raise error(f"{place} parses arguments when it is imported ({wanted}): {guard}") from None
    except SystemExit as ended:
        code = f" with {first_line(ended)}" if ended.code else ""
        raise error(f"{place} ends the program{code} when it is imported: {guard}") from None
    except SyntaxError as wrong:
        where = f"{wrong.filename or place}, line {wrong.lineno}" if wrong.lineno else wrong.filename or place
        raise error(f"{where}: {wrong.msg}; it is no Python that can be read") from None
    except ModuleNotFoundError as missing:
        raise error(f"{place} needs {missing.name!r}, which cannot be imported here: install it") from missing
    except ImportError as missing:
        raise error(f"{place} cannot be imported: {first_line(missing)}") from missing
    finally:
        sys.argv, argparse.ArgumentParser.error = arguments, exit_of_argparse  # type: ignore[method-assign]


class _WantsArguments(Exception):
    """A parser of the user's has found that something is missing."""


def _refuse_arguments(parser: argparse.ArgumentParser, message: str) -> NoReturn:
    raise _WantsArguments(message)


def place_of(raised: BaseException) -> str:
    """ " at net.py:12", where the user's code raised: the innermost line that is no installed package's."""
    frames = inspect.getinnerframes(raised.__traceback__) if raised.__traceback__ else []
    home = Path(__file__).parent
    own = [f for f in frames if "-packages" not in f.filename and not Path(f.filename).is_relative_to(home)]
    return f" at {Path(own[-1].filename).name}:{own[-1].lineno}" if own else ""


def _from_file(path: Path, error: type[DashfxError]) -> ModuleType:
    if path.is_dir():
        raise error(f"{path} is a folder; give a file in it, as file.py:name")
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
