"""Imports go one way: a room imports itself and the rooms of earlier lines, whatever the import stands in."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# Rooms of one line do not import each other.
ORDER = """
errors
usercode workers
space
drawing site config
options
plugins
genotype data
task
frontend
ops train
deploy passes blackbox
cost
strategies
proxy
supernet tune
run
report
stages
pipeline
study
__init__
cli
__main__
"""
RANK = {room: rank for rank, line in enumerate(ORDER.split("\n")) for room in line.split()}


def modules(source: str) -> set[str]:
    """The modules of dashfx that `source` imports anywhere, functions and type-checking blocks included."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import; write the full name"
            whole = node.module == "dashfx"
            found |= {f"dashfx.{alias.name}" for alias in node.names} if whole else {node.module or ""}
    return {name for name in found if name.split(".")[0] == "dashfx"}


def room(module: str) -> str:
    """`dashfx.ops.aggconv` -> ops; a public name, which needs all of `dashfx/__init__.py`, -> __init__."""
    name = module.split(".")[1] if "." in module else "__init__"
    return name if name in RANK or name == "backbones" else "__init__"


FILES = [file for top in ("dashfx", "passes", "backbones", "cli") for file in sorted((ROOT / top).rglob("*.py"))]
FILES = [file for file in FILES if not any(parent.is_symlink() for parent in file.parents)]


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_a_room_imports_only_rooms_before_it(file: Path) -> None:
    top = ROOT / "dashfx" if file.is_relative_to(ROOT / "dashfx") else ROOT
    own = file.relative_to(top).parts[0].removesuffix(".py")
    wanted = {each: room(each) for each in modules(file.read_text(encoding="utf-8"))}
    upward = [each for each, other in wanted.items() if other != own and not RANK.get(other, 99) < RANK.get(own, -1)]
    assert not upward, f"{own} must not import {sorted(upward)}"


def test_backwards_and_public_imports_are_seen() -> None:
    assert modules("def late():\n    from dashfx.cli import main") == {"dashfx.cli"}
    assert room("dashfx.AggConv") == "__init__" and room("dashfx.ops.aggconv") == "ops"
    assert modules("import torch\nfrom dashfx import genotype") == {"dashfx.genotype"}


def test_a_wheel_has_every_package() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["packages"]
    folders = [file.parent.relative_to(ROOT).parts for file in FILES if file.name == "__init__.py"]
    assert sorted(listed) == sorted(".".join(["dashfx", *parts[parts[0] == "dashfx" :]]) for parts in folders)
