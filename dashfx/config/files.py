"""YAML of unknown origin: files, `--set a.b=c` and single values go in; plain values come out, unchecked.

Whatever bytes they hold, they are read or refused, in bounded time and memory.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from dashfx.errors import ConfigError, first_line

LARGEST = 2**20  # bytes of a YAML file
NODES = 100_000  # values of a YAML text, those counted again that an alias repeats


def read_yaml(path: str | Path) -> dict[str, Any]:
    """The options in a YAML file.

    Raises:
        ConfigError: the file cannot be read, is not YAML, or holds no mapping.
    """
    try:
        with Path(path).open("rb") as file:
            content = file.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise ConfigError(f"configuration {str(path)!r} is larger than {LARGEST:,} bytes; give a file of options")
        options = parse_yaml(content.decode())
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"configuration {str(path)!r} cannot be read: {error}") from None
    except ValueError as error:
        raise ConfigError(f"configuration {str(path)!r} is not YAML: {error}") from None
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


def parse_value(text: str) -> Any:
    """A value as YAML reads it; unlike in YAML 1.1, 1e-3 is a number.

    Raises:
        ConfigError: not YAML.
    """
    try:
        return float(text) if _EXPONENT.fullmatch(text.strip()) else parse_yaml(text)
    except ValueError as error:
        shown = text if len(text) <= 80 else f"{text[:77]}..."
        raise ConfigError(f"value {shown!r} cannot be read: an open bracket or quote, perhaps ({error})") from None


def parse_yaml(text: str) -> Any:
    """What YAML says, by its safe loader.

    Raises:
        ValueError: no YAML, nested too deeply, a name twice in one block, or aliases that make it endless; in one line.
    """
    try:
        return yaml.load(text, _Loader)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except Exception as error:  # its constructors raise whatever int, datetime and others do
        raise ValueError(first_line(ValueError(" ".join(str(error).split()) or type(error).__name__))) from None


class _Loader(yaml.SafeLoader):
    """The safe loader, which refuses what makes Python's values endless, and names given twice."""

    def compose_document(self) -> yaml.Node | None:
        node = super().compose_document()
        if node is not None:
            _count(node, {}, set())
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        names = [(key.tag, key.value) for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        merged = "tag:yaml.org,2002:merge"
        if twice := next((n for n in names if n[0] != merged and names.count(n) > 1), None):
            raise ValueError(f"the name {twice[1]!r} stands there twice, the second time{node.start_mark}")
        return super().construct_mapping(node, deep)


def _count(node: yaml.Node, known: dict[int, int], above: set[int]) -> int:
    """The values of a node, each counted as often as it is repeated.

    Raises:
        ValueError: there are too many, or it contains itself.
    """
    place = id(node)
    if place in above:
        raise ValueError("an alias contains itself")
    if place not in known:
        above.add(place)
        inner = [] if isinstance(node, yaml.ScalarNode) else node.value
        parts = [part for each in inner for part in (each if isinstance(each, tuple) else (each,))]
        known[place] = 1 + sum(_count(part, known, above) for part in parts)
        above.discard(place)
        if known[place] > NODES:
            raise ValueError(f"it holds more than {NODES:,} values, repeated by aliases")
    return known[place]


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


_EXPONENT = re.compile(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+")


def flat(options: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested options by their dotted names.

    >>> flat({"a": {"b": 1, "c": {}}, "d": 2})
    {'a.b': 1, 'a.c': {}, 'd': 2}
    """
    found: dict[str, Any] = {}
    for key, value in options.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) and value else {f"{prefix}{key}": value}
    return found
