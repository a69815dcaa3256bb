"""A user's code in a worker that outlives a run: what has changed since it was imported is imported again."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable
from pathlib import Path

from dashfx.frontend.sources import sources_of
from dashfx.run.files.portable import code_files
from dashfx.run.inputs import Inputs

_imported: dict[Path, bytes] = {}  # the files of the user's code, as they were when this process imported them


def remember(inputs: Inputs) -> None:
    """Note the files that these inputs are made of, just after they were imported."""
    found = sources_of(inputs.source)
    files = [found.root / file for file in found.files] if found is not None else []
    for file in {path.resolve() for path in [*files, *code_files(inputs.config)]}:
        _imported.setdefault(file, _content(file))


def forget_changed() -> bool:
    """Where one of the files has changed, have all of them imported anew when they are asked for; whether one has."""
    if all(_content(file) == content for file, content in _imported.items()):
        return False
    for name in _modules_of(_imported):
        del sys.modules[name]
    _imported.clear()
    importlib.invalidate_caches()
    return True


def _modules_of(files: Iterable[Path]) -> list[str]:
    wanted = set(files)
    places = {name: getattr(module, "__file__", None) for name, module in list(sys.modules.items())}
    return [name for name, place in places.items() if place and Path(place).resolve() in wanted]


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:
        return b""
