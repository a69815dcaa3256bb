"""JSON of unknown origin: texts and files go in; plain values come out, unchecked, or one line why not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dashfx.errors import DashfxError, first_line


def parse_json(text: str) -> Any:
    """What JSON says.

    Raises:
        ValueError: no JSON, nested too deeply, or a name twice in one object; in one line.
    """
    try:
        return json.loads(text, object_pairs_hook=_object)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def read_json(path: Path, error: type[DashfxError], remedy: str) -> Any:
    """What a JSON file holds.

    Args:
        remedy: what to do about a file that is damaged.

    Raises:
        error: it cannot be read, or is no JSON.
    """
    try:
        return parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as wrong:
        raise error(f"{path} is damaged ({first_line(wrong)}); {remedy}") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the name {next(name for name in names if names.count(name) > 1)!r} stands there twice")
    return found
