"""`dashfx show`: a run's folder or a genotype file goes in; its choices, to scale, and its metrics are shown."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from dashfx.cli import render
from dashfx.cli.tables import finalists as finalist_tables
from dashfx.cli.tables import shared as tables
from dashfx.cli.verbs.tune import show_trials
from dashfx.errors import GenotypeError, RunFolderError
from dashfx.genotype import Genotype

DRAWING_WIDTH = 48  # leaves room for names in 80 columns
METRICS = ("metric", "maximise", "valid", "onnx_valid", "test")

Source = Annotated[
    Path, typer.Argument(help="a run's folder or a genotype.json", metavar="RUN|FILE", show_default=False)
]


def show(source: Source) -> None:
    """Show the choices of a run as a table and as a drawing, and its metrics."""
    from dashfx.run.folder import reading  # which waits for torch

    if not source.exists():
        raise RunFolderError(f"no such run folder or genotype file: {source}")
    if source.is_dir() and not (source / "genotype.json").is_file():
        if not (source / "config.yaml").is_file():
            raise RunFolderError(
                f"{source} is not a run's folder: it has no genotype.json; give what an earlier --out named"
            )
        show_unfinished(source)
        return
    genotype = load_choices(source) if source.is_dir() else Genotype.load(source)
    render.show(tables.genotype(genotype, {}), tables.drawing(genotype, DRAWING_WIDTH))
    if source.is_dir() and (source / "result.json").is_file():
        facts = read_result(source / "result.json")
        with reading(source / "result.json", "continue that run with --resume, which writes it anew"):
            parts: list[Any] = [
                *tables.not_kept(facts),
                *finalist_tables.trained(facts),
                f"{facts['parameters']:,} parameters; {sum(facts['seconds'].values()):.0f} seconds in all",
                tables.files(source),
            ]
        render.show(*parts)
    elif source.is_dir():
        show_unfinished(source)
    if source.is_dir():
        show_trials(source)


def load_choices(folder: Path) -> Genotype:
    """What a run's search chose, also where the untouched model was handed back in its place."""
    from dashfx.run.folder import RunFolder  # which waits for torch

    paths = RunFolder(folder)
    path = paths.searched if paths.searched.is_file() else paths.genotype
    try:
        return Genotype.load(path)
    except GenotypeError as error:
        raise RunFolderError(f"{error}; continue that run with --resume, which writes it anew") from None


def show_unfinished(folder: Path) -> None:
    """How far a run has come that has no result yet, and how it goes on."""
    from dashfx.run.folder import existing_folder
    from dashfx.train.progress import read_log

    paths, config = existing_folder(folder)
    last: dict[str, Any] = {}
    for event in read_log(paths.log):
        if event.get("event") == "epoch" and isinstance(event.get("epoch"), int):
            of = "of at most" if event.get("open") else "of"
            last[str(event.get("stage"))] = f"{event['epoch'] + 1} {of} {event.get('epochs')} epochs"
    done = ", ".join(f"{stage} {epochs}" for stage, epochs in last.items()) or "no epoch yet"
    render.line(f"{folder} has not finished: {done}")
    if config.model is None or config.data is None:
        render.line("continue it from Python, with resume=True and what it was begun with")
    else:
        render.line(f"continue it with: dashfx search --resume --out {folder}")


def read_result(path: Path) -> dict[str, Any]:
    """What a finished run says of itself.

    Raises:
        RunFolderError: not what `dashfx search` writes.
    """
    from dashfx.run.folder import read_facts, reading

    remedy = "continue that run with --resume, which writes it anew"
    facts = read_facts(path, remedy)
    if missing := {*METRICS, "parameters", "seconds"} - facts.keys():
        raise RunFolderError(
            f"{path} lacks {', '.join(sorted(missing))}: it is not a result of dashfx search; {remedy}"
        )
    with reading(path, remedy):
        sum(map(float, facts["seconds"].values()), float(facts["parameters"]))
    return facts
