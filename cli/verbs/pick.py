"""`dashfx pick`: a run's folder and budgets go in; what its search prefers within them is written as a plain model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dashfx.cli import render
from dashfx.cli.naming import folders
from dashfx.cli.options import files as export_options
from dashfx.cli.options import shared as options
from dashfx.cli.tables import shared as tables
from dashfx.cli.verbs.lower import new_folder, write_model
from dashfx.errors import ConfigError

Pareto = Annotated[
    int | None,
    typer.Option("--pareto", help="show so many choices, the cheapest first; write nothing", min=2, show_default=False),
]
Cost = Annotated[str, typer.Option("--cost", help="for --pareto: params, macs, size or latency")]
Int8 = Annotated[bool, typer.Option("--int8", help="choose each conv's precision too; write ONNX files, one in int8")]
Deploy = Annotated[
    str | None,
    typer.Option(
        "--deploy",
        help="choose how it is run too, within --max: sessions, or sessions:threads=[1,4],precisions=[int8]",
        metavar="NAME",
        show_default=False,
    ),
]
Out = Annotated[Path | None, typer.Option(help="a new folder; by default RUN/picked-1 and so on", show_default=False)]


def pick(
    run: options.Folder,
    max: options.Max = None,
    pareto: Pareto = None,
    cost: Cost = "params",
    int8: Int8 = False,
    max_drop: export_options.MaxDrop = None,
    deploy: Deploy = None,
    out: Out = None,
    data: options.MovedData = None,
    quiet: options.Quiet = False,
) -> None:
    """Choose again within other budgets from what RUN's search has trained; nothing is searched or trained anew.

    Writes what `dashfx lower` writes: the weights are those that the search left, and want some training.
    """
    from dashfx.run.folder import existing_folder
    from dashfx.stages.costs.pick import front, picked, write_int8

    drop = export_options.asked_drop(max_drop, int8 or deploy is not None)
    if pareto is not None and not max:
        render.show(tables.front(front(run, cost, pareto, data, int8, drop)))
        return
    if not max or pareto is not None:
        raise ConfigError("pick needs either --max, what the model may cost, such as --max latency=2ms, or --pareto 8")
    _, settings = existing_folder(run)
    place = out or folders.free_folder(str(run / "picked"))
    if deploy is not None:
        _deployed(run, max, deploy, int8, drop, place, data, quiet)
        return
    found, said = picked(run, max, data, int8, drop), list[str]()
    folder = new_folder(place)
    if int8:
        found, file = write_int8(found, folder / "model.onnx")
        said.append(f"int8: {file}")
    write_model(found.model, found.genotype, settings, folder)
    if not quiet:
        said += [each.sentence for each in found.budgets]
        render.show(tables.genotype(found.genotype, {}), *said, tables.files(folder))


def _deployed(
    run: Path,
    budgets: list[str],
    name: str,
    int8: bool,
    drop: float | str | None,
    place: Path,
    data: str | None,
    quiet: bool,
) -> None:
    """The choice that goes together with a session, written with that session's settings."""
    from dashfx.plugins import find
    from dashfx.run.folder import existing_folder
    from dashfx.stages.costs.deployed import deployed

    if int8:
        raise ConfigError("--deploy chooses among precisions itself: leave --int8, or say sessions:precisions=[int8]")
    _, settings = existing_folder(run)
    found = deployed(run, budgets, find("deployment", name), lambda: new_folder(place), data, drop)
    write_model(found.model, found.genotype, settings, place)
    if not quiet:
        said = [f"deploy: {found.path.name}, {found.deployment}", *found.said]
        render.show(tables.genotype(found.genotype, {}), *said, tables.files(place))
