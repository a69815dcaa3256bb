"""`dashfx show`: a run's folder or a genotype file goes in; its choices, to scale, and its metrics are shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from dashfx.cli import render, tables
from dashfx.cli.tune import show_trials
from dashfx.errors import RunFolderError
from dashfx.genotype import Genotype

DRAWING_WIDTH = 48  # leaves room for names in 80 columns
METRICS = ("metric", "maximise", "valid", "onnx_valid", "test")

Source = Annotated[
    Path, typer.Argument(help="a run's folder or a genotype.json", metavar="RUN|FILE", show_default=False)
]


def show(source: Source) -> None:
    """Show the choices of a run as a table and as a drawing, and its metrics."""
    if not source.exists():
        raise RunFolderError(f"no such run folder or genotype file: {source}")
    if source.is_dir() and not (source / "genotype.json").is_file():
        raise RunFolderError(
            f"{source} is not a run's folder: it has no genotype.json; give what an earlier --out named"
        )
    genotype = Genotype.load(choices_of(source) if source.is_dir() else source)
    render.show(tables.genotype(genotype, {}), tables.drawing(genotype, DRAWING_WIDTH))
    if source.is_dir() and (source / "result.json").is_file():
        facts = read_result(source / "result.json")
        render.show(
            *tables.not_kept(facts),
            tables.run_metrics(facts),
            f"{facts['parameters']:,} parameters; {sum(facts['seconds'].values()):.0f} seconds in all",
            tables.files(source),
        )
    if source.is_dir():
        show_trials(source)


def choices_of(folder: Path) -> Path:
    """The file of what a run's search chose, also where the untouched model was handed back in its place."""
    from dashfx.run.folder import RunFolder  # which waits for torch

    paths = RunFolder(folder)
    return paths.searched if paths.searched.is_file() else paths.genotype


def read_result(path: Path) -> dict[str, Any]:
    """What a finished run says of itself.

    Raises:
        RunFolderError: not what `dashfx search` writes.
    """
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        missing = {*METRICS, "parameters", "seconds"} - facts.keys()
    except (OSError, ValueError, AttributeError) as error:
        raise RunFolderError(f"{path} cannot be read: {error}") from None
    if missing:
        raise RunFolderError(f"{path} lacks {', '.join(sorted(missing))}: it is not a result of dashfx search")
    return facts
