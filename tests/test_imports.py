"""Imports go one way: facts <- tracing <- ops <- passes, search, train <- export <- run, report <- pipeline <- cli."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# Two of the report's parts need facts only, so that facts can show themselves in a notebook.
FACTS = {"errors", "space", "site", "genotype", "genotable", "report_html", "report_kernels"}
GRAPH = {"convs", "hosting", "inputs", "adapters", "observe", "classify", "tracing", "analysis"}
SETTINGS = {"config", "tuneconfig", "strict", "configfile", "presets", "schedule", "progress", "tensorboard"}
DATA = {"data", "task"}
FILES = {"model", "checkpoint", "checkpointfile", "runfolder"}  # the user's files, and those of a run
OUTPUT = {
    "export",
    "onnxwrite",
    "onnxreal",
    "onnxrepair",
    "onnxfile",
    "verify",
    "divergence",
    "rebuild",
    "rebuild_own",
    "comparison",
}
REPORT = {
    "profiles",
    "report",
    "report_evaluations",
    "report_figures",
    "report_models",
    "report_network",
    "report_profiles",
    "report_tuning",
    "report_warnings",
}

PROCESSES = {"processes"}  # what several of them share; a run's folder tells how many there were

TO_GRAPH = FACTS | GRAPH
TO_OPS = TO_GRAPH | {"ops"}
TO_TRAIN = TO_OPS | SETTINGS | DATA | PROCESSES | {"train", "averaging", "recipe"}
TO_OUTPUT = TO_TRAIN | FILES | OUTPUT | {"passes", "search", "proxy", "tune", "supernet"}
TO_RUN = TO_OUTPUT | {"preflight", "run", "rewriting", "budget"}
TO_SEARCHES = TO_RUN | {"evaluators", "blackbox", "known", "retraining", "finalists"}
TO_PIPELINE = TO_SEARCHES | REPORT | {"outputs", "pipeline", "reopen"}

# What each part may import of dashfx; a new module or folder needs a place here.
MAY_IMPORT = {
    **dict.fromkeys(FACTS, FACTS),
    **dict.fromkeys(GRAPH, TO_GRAPH),
    "ops": TO_OPS,
    **dict.fromkeys(SETTINGS, FACTS | SETTINGS),
    **dict.fromkeys(DATA, FACTS | DATA),
    **dict.fromkeys(PROCESSES, FACTS),
    **dict.fromkeys(FILES, TO_GRAPH | SETTINGS | DATA | FILES | PROCESSES),
    **dict.fromkeys(("train", "averaging", "recipe"), TO_TRAIN),
    "passes": TO_OPS | {"passes"},
    "search": TO_TRAIN | {"search"},
    "proxy": TO_TRAIN | {"search", "proxy"},
    "tune": TO_RUN | {"tune"},
    "supernet": TO_OPS | {"passes", "search", "supernet"},
    **dict.fromkeys(OUTPUT, TO_OUTPUT),
    "preflight": TO_OUTPUT,
    "run": TO_OUTPUT | {"run"},
    "rewriting": TO_RUN,
    "budget": TO_RUN | {"evaluators"},
    **dict.fromkeys(("evaluators", "blackbox", "known", "retraining", "finalists"), TO_SEARCHES),
    **dict.fromkeys(REPORT, TO_RUN | REPORT | {"outputs"}),  # of `outputs` its Result, for annotations only
    "outputs": TO_RUN | REPORT | {"outputs"},
    "pipeline": TO_PIPELINE,
    "reopen": TO_PIPELINE,
    "__init__": TO_PIPELINE,
    "cli": TO_PIPELINE | {"__init__", "cli"},
    "__main__": {"cli"},
    "backbones": {"backbones"},
}


def part_of(file: Path) -> str:
    """The part a file belongs to: `dashfx/ops/aggconv.py` -> ops, `passes/lower.py` -> passes."""
    inside = file.relative_to(ROOT / "dashfx" if file.is_relative_to(ROOT / "dashfx") else ROOT)
    return inside.parts[0].removesuffix(".py")


def imported_parts(source: str) -> set[str]:
    """The parts of dashfx that `source` imports anywhere, functions and type-checking blocks included."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import; write the full name"
            # `from dashfx import tracing` names a part; `from dashfx import AggConv` needs all of dashfx/__init__.py
            names = [f"dashfx.{alias.name}" for alias in node.names] if node.module == "dashfx" else [node.module or ""]
        else:
            continue
        for name in names:
            top, _, rest = name.partition(".")
            if top == "dashfx":
                part = rest.partition(".")[0]
                found.add(part if part in MAY_IMPORT else "__init__")
    return found


def library_files() -> list[Path]:
    folders = (ROOT / name for name in ("dashfx", "passes", "backbones", "cli"))
    # rglob meets passes/, backbones/ and cli/ a second time below dashfx/ where it follows their symlinks
    seen_twice = tuple(ROOT / "dashfx" / name for name in ("passes", "backbones", "cli"))
    files = (file for folder in folders for file in sorted(folder.rglob("*.py")))
    return [file for file in files if not any(file.is_relative_to(link) for link in seen_twice)]


@pytest.mark.parametrize("file", library_files(), ids=lambda file: str(file.relative_to(ROOT)))
def test_imports_go_one_way(file: Path) -> None:
    part = part_of(file)
    assert part in MAY_IMPORT, f"{part!r} has no place in the import direction yet; give it a line in MAY_IMPORT"
    wrong = imported_parts(file.read_text(encoding="utf-8")) - MAY_IMPORT[part]
    assert not wrong, f"{part} must not import {sorted(wrong)}"


@pytest.mark.parametrize(
    ("source", "parts"),
    [
        ("import torch\nfrom pathlib import Path", set()),
        ("import dashfx.ops.aggconv", {"ops"}),
        ("from dashfx.passes.lower import Lower", {"passes"}),
        ("from dashfx import tracing", {"tracing"}),
        ("from dashfx import AggConv", {"__init__"}),
        ("def late():\n    from dashfx.cli import main", {"cli"}),
    ],
)
def test_imported_parts(source: str, parts: set[str]) -> None:
    assert imported_parts(source) == parts
