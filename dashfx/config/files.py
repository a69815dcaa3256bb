"""YAML files and `--set a.b=c` go in; the options of a run come out, not yet checked."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from dashfx.errors import ConfigError
from dashfx.plugins import parse_value


def read_yaml(path: str | Path) -> dict[str, Any]:
    """The options in a YAML file.

    Raises:
        ConfigError: the file cannot be read, is not YAML, or holds no mapping.
    """
    try:
        options = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"configuration {str(path)!r} cannot be read: {error}") from None
    except yaml.YAMLError as error:
        line = str(error).replace("\n", " ")
        raise ConfigError(f"configuration {str(path)!r} is not YAML: {line}") from None
    if not isinstance(options, dict):
        raise ConfigError(f"configuration {str(path)!r}: expected options as 'name: value' lines")
    return options


def assign(options: dict[str, Any], assignments: Iterable[str]) -> dict[str, Any]:
    """`options` with every "a.b=c" put in its place; values are read as YAML.

    Raises:
        ConfigError: an assignment without "=", or one that goes through a value that is no block.
    """
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals or not key:
            raise ConfigError(f"--set {assignment!r}: write it as name=value, for example --set search.lr=0.05")
        *path, last = key.strip().split(".")
        block = options
        for step in path:
            block = block.setdefault(step, {})
            if not isinstance(block, dict):
                raise ConfigError(f"--set {assignment!r}: {step!r} is a single value, not a block of options")
        block[last] = parse_value(text)
    return options


def seconds_of(duration: str) -> float:
    """A wall time in seconds.

    >>> seconds_of("1h30m"), seconds_of("90s"), seconds_of("0.5h")
    (5400.0, 90.0, 1800.0)

    Raises:
        ValueError: another form, or nothing.
    """
    parts = re.fullmatch(r"(?:([\d.]+)h)?(?:([\d.]+)m(?:in)?)?(?:([\d.]+)s)?", duration.replace(" ", "").lower())
    try:
        hours, minutes, seconds = (float(part or 0) for part in parts.groups()) if parts else (0.0, 0.0, 0.0)
    except ValueError:  # such as 1.2.3
        hours = minutes = seconds = 0.0
    total = 3600 * hours + 60 * minutes + seconds
    if total <= 0:
        raise ValueError("write a wall time such as 2h, 90m, 1h30m or 45s")
    return total
